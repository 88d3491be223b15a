//! Tests of the assessment: named cases, then properties.

use proptest::prelude::*;

use super::super::{
    MetricPlan, OnUnknown,
    fixture::{at, error_rate, plan, sample, samples},
};
use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A window of ten samples, of which five must be judged, extended by five at most.
fn short() -> AnalysisPlan {
    AnalysisPlan {
        window: seconds(150),
        min_samples: 5,
        max_extension: seconds(75),
        on_unknown: OnUnknown { action: UnknownAction::Pause, after: seconds(60) },
        ..plan()
    }
}

fn of(plan: &AnalysisPlan, letters: &str) -> Assessment {
    assess(plan, &Watch::completed(at(0)), &samples(letters), at(1_000_000))
}

/// A letter per kind of assessment, for short tables.
fn kind(assessment: &Assessment) -> &'static str {
    match assessment {
        Assessment::Continue { .. } => "Continue",
        Assessment::Extend { .. } => "Extend",
        Assessment::Breach { .. } => "Breach",
        Assessment::Unknown { .. } => "Unknown",
        Assessment::Passed => "Passed",
        Assessment::Inconclusive { .. } => "Inconclusive",
    }
}

#[test]
fn histories_have_their_assessments() {
    let check = |letters: &str, expected: &str| {
        let assessment = of(&short(), letters);
        assert_eq!(kind(&assessment), expected, "{letters}: {assessment:?}");
    };
    check("", "Continue");
    check("P", "Continue");
    check("PPPPPPPPP", "Continue");
    check("PPPPPPPPPP", "Passed");
    check("BB", "Continue");
    check("BBB", "Breach");
    check("BPBPB", "Breach");
    check("BPPBPB", "Continue");
    check("BBPPPBB", "Continue");
    check("BBPPPBBB", "Breach");
    // Unknown samples are no judged samples: they neither dilute nor complete a breach.
    check("BNEBLB", "Breach");
    check("NNN", "Continue");
    check("NNNNN", "Unknown");
    check("LLLLL", "Unknown");
    check("NELNE", "Unknown");
    check("NNNNP", "Continue");
    check("NNNNNP", "Continue");
    check("NNNNNPPPPP", "Passed");
    check("PPPPPNNNNP", "Passed");
    // Enough good samples are no pass while nobody knows how it is now.
    check("PPPPPNNNNN", "Unknown");
    check("PPPPPNNNNNP", "Passed");
    check("PPPPNPNNNN", "Passed");
    // Short of samples: go on, within bounds.
    check("PNNNPNNNPN", "Extend");
    check("PNNNPNNNPNPN", "Extend");
    check("PNNNPNNNPNPNP", "Passed");
    check("PNNNPNNNPNNNPNN", "Inconclusive");
    check("PNNNPNNNPNNNBBB", "Breach");
    // A window does not end on a bad sample while it may be extended.
    check("PPPPPPPPPB", "Extend");
    check("PPPPPPPPPBP", "Passed");
    check("PPPPPPPPBBB", "Breach");
    check("PPPPPPPPPBNNNBN", "Passed");
    check("PPPPPPPPNN", "Passed");
    check("PPPPPNNNNNNNNNN", "Inconclusive");
}

#[test]
fn a_decision_holds_whatever_comes_later() {
    let check = |decided: &str, later: &str| {
        assert!(of(&short(), decided).is_final(), "{decided}");
        assert_eq!(of(&short(), &format!("{decided}{later}")), of(&short(), decided), "{decided} {later}");
    };
    check("BBB", "PPPPPPP");
    check("PBPBPB", "NNNNNNNNN");
    check("PPPPPPPPPP", "BBBBB");
    check("PNNNPNNNPNNNPNN", "PPP");
}

#[test]
fn a_breach_names_value_limit_and_count() {
    let expected = |message: &str, seconds: u64| Assessment::Breach {
        metric: "error-rate".to_owned(),
        at: at(seconds),
        message: message.to_owned(),
    };
    assert_eq!(of(&plan(), "PPBBPB"), expected("error-rate 0.41 > 0.05 in 3 of the last 5 samples", 90));
    assert_eq!(of(&plan(), "BBB"), expected("error-rate 0.41 > 0.05 in 3 of the last 3 samples", 45));
}

#[test]
fn old_samples_do_not_count() {
    // 2 x 5 x 15 s = 150 s after the first sample a third one still completes the breach, later not.
    let check = |unknown: usize, expected: &str| {
        let letters = format!("BB{}B", "L".repeat(unknown));
        let lenient =
            AnalysisPlan { on_unknown: OnUnknown { after: seconds(9000), ..plan().on_unknown }, ..plan() };
        assert_eq!(kind(&of(&lenient, &letters)), expected, "{letters}");
    };
    check(8, "Breach");
    check(9, "Continue");
}

#[test]
fn warmup_is_recorded_but_not_judged() {
    let warm = AnalysisPlan { warmup: seconds(45), ..short() };
    let check = |letters: &str, expected: &str| assert_eq!(kind(&of(&warm, letters)), expected, "{letters}");
    // The samples at 15 and 30 s fall into the warm-up, that at 45 s does not.
    check("BBBB", "Continue");
    check("BBBBB", "Breach");
    check("NNNNNN", "Continue");
    check("NNNNNNN", "Unknown");
    check("PPPPNPNPNN", "Extend");
}

#[test]
fn a_metric_may_have_a_rule_of_its_own() {
    let metric = MetricPlan { breach: Some(BreachRule { samples: 1, of: 1 }), ..error_rate() };
    let strict = AnalysisPlan { metrics: vec![metric], ..plan() };
    assert_eq!(kind(&of(&strict, "PB")), "Breach");
}

#[test]
fn unknown_follows_its_policy() {
    let check = |action: UnknownAction, letters: &str, expected: &str| {
        let plan = AnalysisPlan { on_unknown: OnUnknown { action, after: seconds(60) }, ..short() };
        let assessment = of(&plan, letters);
        assert_eq!(kind(&assessment), expected, "{action:?} {letters}: {assessment:?}");
        if let Assessment::Unknown { action: said, since, message, next, .. } = assessment {
            assert_eq!((said, since, next), (action, at(15), at(95)));
            assert!(message.contains("error-rate is unknown since"), "{message}");
            assert!(message.ends_with(": no data"), "{message}");
        }
    };
    check(UnknownAction::Pause, "NNNNN", "Unknown");
    check(UnknownAction::Rollback, "NNNNN", "Unknown");
    check(UnknownAction::Continue, "NNNNN", "Continue");
    check(UnknownAction::Continue, "NNNNNNNNNN", "Extend");
    check(UnknownAction::Continue, "NNNNNNNNNNNNNNN", "Inconclusive");
    check(UnknownAction::Pause, "NNNNNNNNNNNNNNN", "Inconclusive");
}

#[test]
fn the_next_sample_is_named() {
    assert_eq!(of(&short(), ""), Assessment::Continue { next: at(20) });
    assert_eq!(of(&short(), "PP"), Assessment::Continue { next: at(50) });
    let Assessment::Extend { next, until, message } = of(&short(), "PNNNPNNNPN") else { panic!() };
    assert_eq!((next, until), (at(170), at(225)));
    assert_eq!(message, "error-rate has 3 of 5 judged samples");
}

fn two_metrics(second: Mode) -> AnalysisPlan {
    let latency = MetricPlan { name: "latency".to_owned(), mode: second, ..error_rate() };
    AnalysisPlan { metrics: vec![error_rate(), latency], ..short() }
}

/// Samples of both metrics, one string of letters each.
fn both(first: &str, second: &str) -> Vec<Sample> {
    let rename = |sample: Sample| Sample { metric: "latency".to_owned(), ..sample };
    samples(first).into_iter().chain(samples(second).into_iter().map(rename)).collect()
}

#[test]
fn every_metric_decides_for_itself() {
    let check = |mode: Mode, first: &str, second: &str, expected: &str| {
        let samples = both(first, second);
        let assessment = assess(&two_metrics(mode), &Watch::completed(at(0)), &samples, at(9999));
        assert_eq!(kind(&assessment), expected, "{first} {second} {mode:?}: {assessment:?}");
    };
    let good = "PPPPPPPPPP";
    check(Mode::Enforce, good, good, "Passed");
    check(Mode::Enforce, "PBPPBPPBPP", "PPBPPBPPBP", "Passed");
    check(Mode::Enforce, good, "PPPPPPPBBB", "Breach");
    check(Mode::Enforce, good, "PPPPPNNNNN", "Unknown");
    check(Mode::Enforce, good, "PNPNPNNNPN", "Extend");
    check(Mode::DryRun, good, "BBBBBBBBBB", "Passed");
    check(Mode::DryRun, good, "NNNNNNNNNN", "Passed");
    check(Mode::DryRun, "PPBBB", "PPPPP", "Breach");
    // The last tick is not complete yet.
    check(Mode::Enforce, good, "PPPPPPPPP", "Continue");
}

#[test]
fn while_steps_still_run_there_is_no_pass_but_there_is_a_breach() {
    let check = |letters: &str, expected: &str| {
        let assessment = assess(&short(), &Watch::running(at(0)), &samples(letters), at(9999));
        assert_eq!(kind(&assessment), expected, "{letters}");
    };
    check(&"P".repeat(40), "Continue");
    check(&format!("{}BBB", "P".repeat(40)), "Breach");
    // What was seen before the window began does not count for it.
    let watch = Watch { applied_at: at(0), completed_at: Some(at(150)) };
    let assessment = assess(&short(), &watch, &samples("PPPPPPPPPPNNNPNNNPNN"), at(9999));
    assert_eq!(kind(&assessment), "Extend");
}

#[test]
fn samples_from_the_future_are_not_there_yet() {
    assert_eq!(kind(&assess(&short(), &Watch::completed(at(0)), &samples("PPBBB"), at(60))), "Continue");
}

fn letters(alphabet: &'static str, max: usize) -> impl Strategy<Value = String> {
    let letters: Vec<char> = alphabet.chars().collect();
    prop::collection::vec(prop::sample::select(letters), 0..max).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn unknown_samples_never_roll_back_under_pause(letters in letters("PNLE", 40)) {
        let assessment = of(&short(), &letters);
        let rolls_back = matches!(
            assessment,
            Assessment::Breach { .. } | Assessment::Unknown { action: UnknownAction::Rollback, .. }
        );
        prop_assert!(!rolls_back, "{:?}", assessment);
    }

    #[test]
    fn too_few_judged_samples_never_pass(letters in letters("PNLEB", 40)) {
        let judged = letters.chars().filter(|letter| "PB".contains(*letter)).count();
        if judged < 5 {
            prop_assert_ne!(of(&short(), &letters), Assessment::Passed);
        }
    }

    #[test]
    fn the_order_of_the_samples_does_not_matter(
        shuffled in letters("PNLEB", 40).prop_map(|letters| samples(&letters)).prop_shuffle()
    ) {
        let mut ordered = shuffled.clone();
        ordered.sort_by_key(|sample| sample.at);
        let watch = Watch::completed(at(0));
        prop_assert_eq!(
            assess(&short(), &watch, &shuffled, at(9999)),
            assess(&short(), &watch, &ordered, at(9999))
        );
    }

    #[test]
    fn being_away_changes_no_decision(letters in letters("PNLEB", 40)) {
        let whole = of(&short(), &letters);
        let seen = (0..=letters.len()).map(|len| of(&short(), &letters[..len])).find(Assessment::is_final);
        match seen {
            Some(decided) => prop_assert_eq!(whole, decided),
            None => prop_assert!(!whole.is_final()),
        }
    }

    #[test]
    fn a_worse_sample_never_undoes_a_breach(letters in letters("PNLEB", 40), index in 0_usize..40) {
        if matches!(of(&short(), &letters), Assessment::Breach { .. }) && index < letters.len() {
            let mut worse = letters.clone();
            if letters[index..].starts_with('P') {
                worse.replace_range(index..=index, "B");
            }
            let is_breach = matches!(of(&short(), &worse), Assessment::Breach { .. });
            prop_assert!(is_breach, "{} -> {}", letters, worse);
        }
    }

    #[test]
    fn a_breach_agrees_with_its_definition(letters in letters("PNLEB", 15)) {
        // The definition, the slow way: some judged sample sees 3 breaches among the last 5 judged ones, none
        // older than 150 s; before the first tick that passes.
        let verdicts = samples(&letters);
        let judged = |upto: usize| verdicts[..=upto].iter().rev().filter(|sample| sample.verdict.is_judged());
        let breaches = |upto: usize| {
            let fresh = judged(upto).take(5).filter(|found| since(found.at, verdicts[upto].at) <= seconds(150));
            fresh.filter(|found| found.verdict == Verdict::Breach).count() >= 3
        };
        let first = (0..verdicts.len()).find(|upto| breaches(*upto));
        match of(&short(), &letters) {
            Assessment::Breach { at, .. } => prop_assert_eq!(Some(at), first.map(|upto| verdicts[upto].at)),
            Assessment::Passed => prop_assert!(first.is_none_or(|upto| upto >= 10)),
            _ => prop_assert_eq!(first, None),
        }
    }
}

#[test]
fn a_sample_of_another_plan_is_ignored() {
    let foreign = [15, 30, 45].map(|at| sample("unknown-metric", at, Verdict::Breach));
    assert_eq!(kind(&assess(&short(), &Watch::completed(at(0)), &foreign, at(9999))), "Continue");
}
