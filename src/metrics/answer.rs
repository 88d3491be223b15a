//! Pure: what an answer of the Prometheus HTTP API means.
//!
//! Source: Prometheus documentation, "HTTP API", sections "Format overview", "Instant queries" and
//! "Expression query result formats".

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::core::analysis::{Failure, Reading};
use crate::crash::{Mutant, planted};

/// Why there is no reading, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub failure: Failure,
    pub message: String,
}

impl Refusal {
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, message: message.into() }
    }
}

#[derive(Deserialize)]
struct Answer {
    status: Status,
    data: Option<Data>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: ResultType,
    result: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResultType {
    Vector,
    Scalar,
    Matrix,
    String,
}

#[derive(Deserialize)]
struct Series {
    /// Absent for a native histogram.
    value: Option<Point>,
}

/// The time and the value.
type Point = (IgnoredAny, String);

/// Returns what an answer means, from its HTTP status and its body.
pub(super) fn interpret(status: u16, body: &[u8]) -> Result<Reading, Refusal> {
    let answer = serde_json::from_slice::<Answer>(body);
    if status != 200 {
        // Of a body that is not Prometheus' own, such as a proxy's page, nothing is passed on.
        return Err(refused(status, answer.ok().and_then(|answer| answer.error)));
    }
    let unreadable =
        |_| Refusal::new(Failure::BadAnswer, "the answer is not that of the Prometheus HTTP API");
    let answer = answer.map_err(unreadable)?;
    if answer.status == Status::Error {
        let error = answer.error.unwrap_or_default();
        return Err(Refusal::new(
            Failure::BadAnswer,
            format!("the provider answered with an error: {error}"),
        ));
    }
    if let Some(warnings) = answer.warnings.filter(|warnings| !warnings.is_empty()) {
        return Ok(Reading::Partial(warnings.join("; ")));
    }
    let Some(Data { result_type, result }) = answer.data else {
        return Err(Refusal::new(Failure::BadAnswer, "the answer has no data"));
    };
    match result_type {
        ResultType::Vector => of_series(&serde_json::from_value::<Vec<Series>>(result).map_err(unreadable)?),
        ResultType::Scalar => Ok(of_values(&[number(&serde_json::from_value(result).map_err(unreadable)?)?])),
        ResultType::Matrix => Err(no_number("a range vector")),
        ResultType::String => Err(no_number("a string")),
    }
}

fn refused(status: u16, error: Option<String>) -> Refusal {
    let (failure, what) = match status {
        400 | 422 => (Failure::QueryInvalid, "the provider refuses the query"),
        401 | 403 => (Failure::Unauthorized, "the provider does not accept the credentials"),
        404 | 405 => (Failure::BadAnswer, "there is no Prometheus HTTP API at the url"),
        408 | 429 | 500..=599 => (Failure::Unreachable, "the provider is not able to answer"),
        _ => (Failure::BadAnswer, "the provider answered unexpectedly"),
    };
    let message = match error {
        Some(error) => format!("{what} (HTTP status {status}): {error}"),
        None => format!("{what} (HTTP status {status})"),
    };
    Refusal::new(failure, message)
}

fn no_number(what: &str) -> Refusal {
    Refusal::new(Failure::QueryInvalid, format!("the query gives {what} instead of a number"))
}

fn of_series(series: &[Series]) -> Result<Reading, Refusal> {
    let value = |series: &Series| match &series.value {
        Some(point) => number(point),
        None => Err(no_number("a histogram")),
    };
    let values: Result<Vec<_>, _> = series.iter().map(value).collect();
    Ok(of_values(&values?))
}

fn of_values(values: &[f64]) -> Reading {
    match values {
        [] => Reading::Empty,
        [value] if value.is_nan() && planted(Mutant::NanIsZero) => Reading::Value(0.0),
        [value] if value.is_nan() => Reading::NaN,
        [value] => Reading::Value(*value),
        _ => Reading::Many(values.to_vec()),
    }
}

fn number((_, text): &Point) -> Result<f64, Refusal> {
    text.parse().map_err(|_| Refusal::new(Failure::BadAnswer, "the answer has a value that is not a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn success(kind: &str, result: &Value) -> Vec<u8> {
        json!({"status": "success", "data": {"resultType": kind, "result": result}}).to_string().into_bytes()
    }

    fn vector(values: &[&str]) -> Vec<u8> {
        let series = values.iter().map(|value| json!({"metric": {"a": "b"}, "value": [1.5, value]}));
        success("vector", &series.collect())
    }

    #[test]
    fn good_answers_are_readings() {
        let check = |body: Vec<u8>, expected: Reading| {
            let text = String::from_utf8_lossy(&body).into_owned();
            assert_eq!(interpret(200, &body), Ok(expected), "{text}");
        };
        check(vector(&[]), Reading::Empty);
        check(vector(&["0.41"]), Reading::Value(0.41));
        check(vector(&["1e-3"]), Reading::Value(0.001));
        check(vector(&["NaN"]), Reading::NaN);
        check(vector(&["+Inf"]), Reading::Value(f64::INFINITY));
        check(vector(&["-Inf"]), Reading::Value(f64::NEG_INFINITY));
        check(vector(&["1", "2"]), Reading::Many(vec![1.0, 2.0]));
        check(success("scalar", &json!([1.5, "3"])), Reading::Value(3.0));
        check(success("scalar", &json!([1.5, "NaN"])), Reading::NaN);
    }

    #[test]
    fn additions_to_the_answer_are_understood() {
        let with = |key: &str, value: Value| {
            let mut body: Value = serde_json::from_slice(&vector(&["1"])).unwrap();
            body[key] = value;
            interpret(200, body.to_string().as_bytes())
        };
        assert_eq!(with("warnings", json!(["one", "two"])), Ok(Reading::Partial("one; two".to_owned())));
        assert_eq!(with("warnings", json!([])), Ok(Reading::Value(1.0)));
        assert_eq!(with("warnings", Value::Null), Ok(Reading::Value(1.0)));
        assert_eq!(with("infos", json!(["harmless"])), Ok(Reading::Value(1.0)));
        assert_eq!(with("isPartial", json!(false)), Ok(Reading::Value(1.0)));
    }

    fn check(status: u16, body: &[u8], failure: Failure, expected: &str) {
        let refusal = interpret(status, body).unwrap_err();
        let text = String::from_utf8_lossy(body);
        assert_eq!(refusal.failure, failure, "{status} {text}");
        assert!(refusal.message.contains(expected), "{status} {text}: {}", refusal.message);
    }

    fn error(message: &str) -> Vec<u8> {
        json!({"status": "error", "errorType": "bad_data", "error": message}).to_string().into_bytes()
    }

    #[test]
    fn each_http_status_has_its_failure() {
        check(400, &error("parse error at char 3"), Failure::QueryInvalid, "400): parse error at char 3");
        check(422, &error("too many samples"), Failure::QueryInvalid, "too many samples");
        check(401, b"Unauthorized", Failure::Unauthorized, "credentials (HTTP status 401)");
        check(403, b"", Failure::Unauthorized, "HTTP status 403");
        check(404, b"<html>", Failure::BadAnswer, "no Prometheus HTTP API");
        check(429, b"", Failure::Unreachable, "HTTP status 429");
        check(503, &error("query timed out"), Failure::Unreachable, "query timed out");
        check(418, b"", Failure::BadAnswer, "HTTP status 418");
    }

    #[test]
    fn a_result_that_is_no_number_is_refused() {
        let invalid = |kind: &str, result: Value, what: &str| {
            check(200, &success(kind, &result), Failure::QueryInvalid, what);
        };
        invalid("matrix", json!([]), "a range vector");
        invalid("string", json!([1, "x"]), "a string");
        invalid("vector", json!([{"histogram": [1, {}]}]), "a histogram");
    }

    #[test]
    fn what_prometheus_never_answers_is_refused() {
        let bad = |body: &[u8], what: &str| check(200, body, Failure::BadAnswer, what);
        bad(b"", "not that of the Prometheus HTTP API");
        bad(b"<html>login</html>", "not that of");
        bad(br#"{"status":"success","data":{"resu"#, "not that of");
        bad(br#"{"status":"success"}"#, "no data");
        bad(&error("odd"), "error: odd");
        bad(&vector(&["many"]), "not a number");
        bad(&success("vector", &json!([{"value": [1, 2]}])), "not that of");
        bad(&success("tensor", &json!([])), "not that of");
    }

    #[test]
    fn pages_of_others_are_not_passed_on() {
        let refusal = interpret(500, b"{\"secret\": \"hunter2\"} hunter2").unwrap_err();
        assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
    }
}
