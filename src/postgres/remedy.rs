//! What a person can do about errors whose own text does not say it.

/// Returns advice about a TLS handshake that failed, to be put behind its cause; empty where there is none.
pub(super) fn of_handshake(cause: &str) -> &'static str {
    match cause {
        _ if cause.contains("does not support TLS") => {
            "; turn ssl on there, or set tls.mode: Disable where the network is trusted"
        }
        _ if cause.contains("UnknownIssuer") => "; a private authority is named in tls.caFrom",
        _ => "",
    }
}

/// Returns advice about an error of the server that comes without a hint.
pub(super) fn of_sqlstate(sqlstate: &str) -> Option<&'static str> {
    (sqlstate == "42501").then_some(
        "`whimbrel grants` prints what the login needs, and spec.ownerRole has to own what is changed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_first_has_a_remedy() {
        let check = |cause: &str, expected: &str| {
            let advice = of_handshake(cause);
            assert!(
                advice.contains(expected) && (advice.is_empty() == expected.is_empty()),
                "{cause}: {advice}"
            );
        };
        check("server does not support TLS", "tls.mode");
        check("invalid peer certificate: UnknownIssuer", "tls.caFrom");
        check("invalid peer certificate: Expired", "");
        assert!(of_sqlstate("42501").is_some_and(|advice| advice.contains("whimbrel grants")));
        assert_eq!(of_sqlstate("42703"), None);
    }
}
