//! Stories of one resource: inputs at times, and what comes out.

use stead_model::order::{Action, OnlineSpec, Outcome, ResourceOrder};
use stead_model::resource::Health;
use stead_model::server::VirtualServer;
use stead_model::usage::Usage;
use stead_model::{Epoch, LeaseNumber, OrderId, Span, Time};

use super::{CallNumber, Input, Output, Returned, Slot, Verb};

fn spec() -> OnlineSpec {
    OnlineSpec {
        kind: "dummy".into(),
        properties: [].into(),
        looks_alive_ms: 5_000,
        is_alive_ms: 60_000,
        pending_timeout_ms: 1_000,
        server: VirtualServer::default(),
        first: false,
        separate: false,
    }
}

fn order_for(number: u64, epoch: u64, action: Action) -> Input {
    Input::Order(ResourceOrder {
        order: OrderId(number),
        group: "g".into(),
        resource: "r".into(),
        epoch: Epoch(epoch),
        lease: LeaseNumber(1),
        action,
    })
}

fn order(number: u64, action: Action) -> Input {
    order_for(number, 1, action)
}

fn online(number: u64) -> Input {
    order(number, Action::Online(spec()))
}

fn returned(call: u64, result: Returned) -> Input {
    Input::Returned { call: CallNumber(call), result }
}

fn ms(ms: u64) -> Time {
    Time(0) + Span::from_millis(ms)
}

fn words(out: &[Output]) -> String {
    let word = |output: &Output| match output {
        Output::Call { call, verb } => {
            let verb = match verb {
                Verb::Online(..) => "online",
                Verb::Adopt(..) => "adopt",
                Verb::Offline => "offline",
                Verb::LooksAlive => "looks alive",
                Verb::IsAlive => "is alive",
            };
            format!("call{} {verb}", call.0)
        }
        Output::Cancel => "cancel".into(),
        Output::Terminate => "terminate".into(),
        Output::Capture { call } => format!("capture call{}", call.0),
        Output::Report(report) => {
            let outcome = match &report.outcome {
                Outcome::Online => "online".into(),
                Outcome::Offline => "offline".into(),
                Outcome::Failed(why) => format!("failed: {why}"),
                Outcome::StopFailed(why) => format!("stop failed: {why}"),
                Outcome::Refused(why) => format!("refused: {why}"),
                Outcome::Health(health, _) => format!("{health:?}"),
                Outcome::Notice(text) => format!("notice: {text}"),
                Outcome::Used(used) => format!("uses {used}"),
                Outcome::Free => "free".into(),
                Outcome::Taken(by) => format!("taken: {by}"),
                Outcome::Fitness(fitness) => format!("{fitness:?}"),
                Outcome::Forgotten(what) => format!("forgotten: {what}"),
                Outcome::Remains(what) => format!("remains: {what}"),
            };
            format!("{} {} {outcome}", report.order, report.epoch)
        }
    };
    out.iter().map(word).collect::<Vec<_>>().join("; ")
}

/// Plays a story: input at a time, what comes out.
fn check(mut slot: Slot, story: Vec<(u64, Input, &str)>) -> Slot {
    for (step, (at, input, expected)) in story.into_iter().enumerate() {
        let shown = format!("{input:?}");
        let out = slot.handle(ms(at), input);
        assert_eq!(words(&out), expected, "step {step}: {shown}");
    }
    slot
}

fn new() -> Slot {
    Slot::new("g".into(), "r".into())
}

/// Online since 10 ms by order 1, call 1.
fn serving() -> Slot {
    check(
        new(),
        vec![(0, online(1), "call1 online"), (10, returned(1, Returned::Done), "o1 e1 online")],
    )
}

#[test]
fn online_and_offline_are_answered_once_each_and_again_when_repeated() {
    check(
        serving(),
        vec![
            (20, online(1), "o1 e1 online"),
            (30, order(2, Action::Offline), "call2 offline"),
            (31, order(2, Action::Offline), ""),
            (40, returned(2, Returned::Done), "o2 e1 offline"),
            (50, order(2, Action::Offline), "o2 e1 offline"),
            (60, order(3, Action::Offline), "o3 e1 offline"),
        ],
    );
}

#[test]
fn a_failed_start_is_told_after_the_terminate() {
    check(
        new(),
        vec![
            (0, online(1), "call1 online"),
            (10, returned(1, Returned::Failed("no".into())), "cancel; terminate"),
            (20, Input::Terminated(Ok(())), "o1 e1 failed: no"),
            (30, online(2), "call2 online"),
            (40, returned(2, Returned::Refused("lease".into())), "cancel; terminate"),
            (50, Input::Terminated(Ok(())), "o2 e1 refused: lease"),
        ],
    );
}

#[test]
fn a_start_that_takes_too_long_is_terminated() {
    let slot = check(
        new(),
        vec![
            (0, online(1), "call1 online"),
            (999, Input::Deadline, ""),
            (1000, Input::Deadline, "capture call1; cancel; terminate"),
            (
                1001,
                Input::Terminated(Ok(())),
                "o1 e1 failed: it did not come online within 1000 ms",
            ),
            (2000, returned(1, Returned::Done), ""),
        ],
    );
    assert!(slot.is_offline());
}

#[test]
fn an_offline_order_cancels_a_start() {
    check(
        new(),
        vec![
            (0, online(1), "call1 online"),
            (10, order(2, Action::Offline), "cancel"),
            (20, returned(1, Returned::Failed("cancelled".into())), "cancel; terminate"),
            (30, Input::Terminated(Ok(())), "o2 e1 offline"),
        ],
    );
    // The start was faster than the cancel.
    check(
        new(),
        vec![
            (0, online(1), "call1 online"),
            (10, order(2, Action::Offline), "cancel"),
            (20, returned(1, Returned::Done), "o1 e1 online; call2 offline"),
            (30, returned(2, Returned::Done), "o2 e1 offline"),
        ],
    );
}

#[test]
fn a_stop_that_fails_or_takes_too_long_goes_down_the_ladder() {
    check(
        serving(),
        vec![
            (20, order(2, Action::Offline), "call2 offline"),
            (30, returned(2, Returned::Failed("no".into())), "cancel; terminate"),
            (40, Input::Terminated(Ok(())), "o2 e1 offline"),
        ],
    );
    check(
        serving(),
        vec![
            (20, order(2, Action::Offline), "call2 offline"),
            (1020, Input::Deadline, "capture call2; cancel; terminate"),
            (6020, Input::Deadline, "o2 e1 stop failed: it did not end when it was killed"),
            (6030, online(3), "o3 e1 stop failed: it could not be stopped before"),
            (7000, Input::Terminated(Ok(())), "o2 e1 offline"),
        ],
    );
}

/// Terminate works while another call hangs.
#[test]
fn a_terminate_waits_for_no_call() {
    check(
        new(),
        vec![
            (0, online(1), "call1 online"),
            (10, order(2, Action::Terminate), "cancel; terminate"),
            (20, Input::Terminated(Ok(())), "o2 e1 offline"),
            (30, returned(1, Returned::Done), ""),
        ],
    );
}

#[test]
fn a_program_that_ends_is_a_failure_only_while_online() {
    check(serving(), vec![(20, Input::Ended("killed".into()), "cancel; o1 e1 failed: killed")]);
    check(
        serving(),
        vec![
            (20, order(2, Action::Offline), "call2 offline"),
            (25, Input::Ended("ended".into()), ""),
            (30, returned(2, Returned::Done), "o2 e1 offline"),
        ],
    );
}

#[test]
fn what_a_type_notices_is_terminated_before_it_is_told() {
    check(
        serving(),
        vec![
            (20, Input::Notice("stale owner".into()), "o1 e1 notice: stale owner"),
            (30, Input::Failed("conflict".into()), "cancel; terminate"),
            (40, Input::Terminated(Ok(())), "o1 e1 failed: conflict"),
            (50, Input::Failed("again".into()), ""),
        ],
    );
}

#[test]
fn health_is_told_when_it_changes_and_unknown_when_a_check_hangs() {
    let good = || Returned::Health(Health::Good, String::new());
    let bad = Returned::Health(Health::Bad, "no".into());
    let slot = check(
        serving(),
        vec![
            (5_010, Input::Deadline, "call2 looks alive"),
            (5_020, returned(2, good()), "o1 e1 Good"),
            (10_010, Input::Deadline, "call3 looks alive"),
            (10_020, returned(3, good()), ""),
            (15_010, Input::Deadline, "call4 looks alive"),
            (15_020, returned(4, bad), "o1 e1 Bad"),
            (20_010, Input::Deadline, "call5 looks alive"),
            (25_010, Input::Deadline, "capture call5; o1 e1 Unknown"),
        ],
    );
    // A hung check holds back other checks, but neither its late answer nor a stop.
    assert_eq!(slot.next_deadline(), Some(Time(u64::MAX)));
    check(slot.clone(), vec![(90_000, returned(5, good()), "o1 e1 Good")]);
    check(slot, vec![(90_000, order(2, Action::Offline), "call6 offline")]);
}

#[test]
fn what_is_used_is_told_in_steps_each_once_and_again_to_a_new_service() {
    let used = |cpu, mib: u64| Input::Used(Usage { cpu, memory: mib << 20 });
    check(
        serving(),
        vec![
            (60_020, used(20, 100), "o1 e1 uses cpu=0.02,memory=112M"),
            (120_020, used(20, 101), ""),
            (180_020, used(1_000, 99), "o1 e1 uses cpu=1.12,memory=112M"),
            (240_020, used(0, 99), "o1 e1 uses cpu=0,memory=112M"),
            (250_000, Input::NewService, ""),
            (260_000, order(1, Action::Adopt(spec())), "o1 e1 online"),
            (300_020, used(0, 99), "o1 e1 uses cpu=0,memory=112M"),
        ],
    );
    check(new(), vec![(10, used(20, 100), "")]);
}

#[test]
fn the_thorough_check_wins() {
    check(serving(), vec![(60_010, Input::Deadline, "call2 is alive")]);
}

#[test]
fn a_look_makes_the_light_check_due_and_begins_no_second_one() {
    let story = vec![
        (20, Input::Look, ""),
        (20, Input::Deadline, "call2 looks alive"),
        (21, Input::Look, ""),
        (21, Input::Deadline, ""),
    ];
    check(serving(), story);
    check(new(), vec![(0, Input::Look, ""), (0, Input::Deadline, "")]);
}

#[test]
fn what_the_guard_runs_is_adopted_for_its_epoch_only() {
    let running = || Slot::running("g".into(), "r".into(), Epoch(7));
    check(
        running(),
        vec![
            (0, order_for(1, 7, Action::Adopt(spec())), "call1 adopt"),
            (10, returned(1, Returned::Done), "o1 e7 online"),
        ],
    );
    check(
        running(),
        vec![(0, order_for(1, 8, Action::Online(spec())), "o1 e8 refused: it still runs for e7")],
    );
    check(
        running(),
        vec![
            (0, order_for(1, 7, Action::Offline), "terminate"),
            (10, Input::Terminated(Ok(())), "o1 e7 offline"),
        ],
    );
}

#[test]
fn a_service_that_lost_its_connection_hears_the_last_answer_again() {
    check(new(), vec![(0, Input::Reconnected, "")]);
    check(
        serving(),
        vec![
            (20, Input::Ended("killed".into()), "cancel; o1 e1 failed: killed"),
            (30, Input::Reconnected, "o1 e1 failed: killed"),
        ],
    );
}

/// Numbers of orders mean nothing to the next node service.
#[test]
fn a_new_service_hears_nothing_of_old_orders() {
    let good = Returned::Health(Health::Good, String::new());
    check(
        serving(),
        vec![
            (20, Input::NewService, ""),
            (5_010, Input::Deadline, "call2 looks alive"),
            (5_020, returned(2, good.clone()), ""),
            (5_030, order(1, Action::Adopt(spec())), "o1 e1 online"),
            (10_010, Input::Deadline, "call3 looks alive"),
            (10_020, returned(3, good), "o1 e1 Good"),
        ],
    );
    check(
        new(),
        vec![
            (0, online(1), "call1 online"),
            (5, Input::NewService, ""),
            (10, returned(1, Returned::Done), ""),
            (20, online(1), "o1 e1 online"),
        ],
    );
}

#[test]
fn a_probe_makes_a_resource_that_seems_well_unwell() {
    let probed = |health, why: &str| Input::Probed(health, why.to_owned());
    let good = || returned(2, Returned::Health(Health::Good, String::new()));
    let slot = check(
        serving(),
        vec![
            (15, probed(Health::Good, ""), "o1 e1 Good"),
            (5_010, Input::Deadline, "call2 looks alive"),
            (5_020, good(), ""),
            (6_000, probed(Health::Unknown, "hangs"), "o1 e1 Unknown"),
            (6_010, probed(Health::Bad, "refused"), "o1 e1 Bad"),
            (6_020, order(2, Action::Terminate), "cancel; terminate"),
            (6_030, probed(Health::Good, ""), ""),
            (6_040, Input::Terminated(Ok(())), "o2 e1 offline"),
        ],
    );
    assert_eq!(slot.probe(), None);
}

#[test]
fn a_new_probe_and_new_intervals_come_with_the_next_order() {
    let mut slot = serving();
    assert_eq!(slot.probe(), None);
    let mut spec = OnlineSpec { looks_alive_ms: 100, ..spec() };
    spec.properties.insert("probe".into(), "tcp:80".into());
    spec.server.addresses.push([10, 0, 0, 5].into());
    let adopt = order(2, Action::Adopt(spec.clone()));
    slot = check(slot, vec![(20, adopt, "o2 e1 online")]);
    assert_eq!(slot.probe().unwrap().what.to_string(), "tcp:10.0.0.5:80");
    slot = check(
        slot,
        vec![
            (30, Input::Probed(Health::Bad, "refused".into()), "o2 e1 Bad"),
            (120, Input::Deadline, "call2 looks alive"),
        ],
    );
    spec.properties.clear();
    slot = check(slot, vec![(130, order(3, Action::Adopt(spec)), "o3 e1 online")]);
    assert_eq!(slot.probe(), None);
    check(
        slot,
        vec![(140, returned(2, Returned::Health(Health::Good, String::new())), "o3 e1 Good")],
    );
}

#[test]
fn checks_of_many_resources_are_spread_over_their_interval() {
    let minute = Span::from_secs(60);
    let mut tenths = [0; 10];
    for number in 0..1000 {
        let phase = super::Phase::of(&format!("app-{number:04}").as_str().into());
        let first = phase.first(Time(0), minute);
        assert!(Time(0) < first && first <= Time(0) + minute);
        tenths[((first.0 - 1) / (minute.0 / 10)) as usize] += 1;
    }
    assert!(tenths.iter().all(|of_tenth| (60..=140).contains(of_tenth)), "{tenths:?}");
    let never = super::Phase(40_000).first(Time(5), Span(u64::MAX));
    assert_eq!(never, Time(u64::MAX), "what is never looked at stays so");
}
