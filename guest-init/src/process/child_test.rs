use super::*;

#[test]
fn a_report_survives_the_pipe() {
    for stage in STAGES {
        let report = Report { stage, error: Errno::EPERM, candidate: 70_000 };
        assert_eq!(Report::decode(&report.encode()), Some(report));
    }
}

#[test]
fn every_stage_is_its_own_number() {
    for (number, stage) in STAGES.into_iter().enumerate() {
        assert_eq!(stage as usize, number);
    }
}

#[test]
fn a_report_that_is_cut_or_unknown_is_none() {
    let whole = Report { stage: Stage::Exec, error: Errno::ENOENT, candidate: 1 }.encode();
    for length in 0..whole.len() {
        assert_eq!(Report::decode(&whole[..length]), None);
    }
    let mut unknown = whole;
    unknown[0] = 200;
    assert_eq!(Report::decode(&unknown), None);
}
