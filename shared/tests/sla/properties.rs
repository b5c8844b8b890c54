//! What holds for every history.

use proptest::prelude::{ProptestConfig, any};
use proptest::{prop_assert, prop_assert_eq, proptest};
use shared::domain::sla::{Clock, Hold};

use crate::history::{Command, History, Sweeps, at, at_us, histories, log, us};
use crate::oracle::judge;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn the_engine_records_what_the_rules_say(history in histories(14)) {
        let verdict = judge(&history);
        let (clock, recorded) = history.run(Sweeps::AtTheEnd);
        prop_assert_eq!(log(&recorded), verdict.log);
        prop_assert_eq!(clock.elapsed(at(history.end)).num_microseconds(), Some(verdict.elapsed));
        prop_assert_eq!(clock.due_at().map(us), verdict.due_at);
        prop_assert_eq!(clock.breach_at().map(us), verdict.breach_at);
        prop_assert_eq!(clock.state().as_str(), verdict.state);
        let breach = recorded.iter().find(|r| r.event.kind() == "breached");
        prop_assert_eq!(clock.breached_at, breach.map(|r| r.at));
    }
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn it_does_not_matter_when_somebody_looks(history in histories(12), seconds in 1..30_i64) {
        let (_, late) = history.run(Sweeps::AtTheEnd);
        for sweeps in [Sweeps::Every(1), Sweeps::Every(seconds), Sweeps::AsAsked] {
            let (_, swept) = history.run(sweeps);
            prop_assert_eq!(log(&swept), log(&late), "{:?}", sweeps);
        }
    }

    #[test]
    fn a_clock_is_the_fold_of_its_events(history in histories(14)) {
        let (clock, recorded) = history.run(Sweeps::AtTheEnd);
        prop_assert_eq!(Clock::replay(&recorded, |version| history.calendar(version)), Some(clock));
    }

    #[test]
    fn instants_never_go_backwards_and_places_have_no_gaps(history in histories(14), seconds in 1..30_i64) {
        let (_, recorded) = history.run(Sweeps::Every(seconds));
        prop_assert!(recorded.is_sorted_by_key(|r| r.at), "{recorded:?}");
        prop_assert!(recorded.iter().zip(1..).all(|(r, seq)| r.seq == seq), "{recorded:?}");
    }

    #[test]
    fn elapsed_grows_at_most_as_fast_as_time(history in histories(10), step in 300_000..5_000_000_i64) {
        let (clock, _) = history.run(Sweeps::AtTheEnd);
        let mut before = clock.elapsed(at(0));
        for us in (0..history.end * 1_000_000).step_by(usize::try_from(step).unwrap_or(1)).skip(1) {
            let elapsed = clock.elapsed(at_us(us));
            let grown = elapsed - before;
            prop_assert!((0..=step).contains(&grown.num_microseconds().unwrap_or(-1)), "{grown} at {us}");
            before = elapsed;
        }
    }

    #[test]
    fn the_target_is_used_up_when_the_clock_is_due(history in histories(12)) {
        let (clock, _) = history.run(Sweeps::AtTheEnd);
        // A credit of more than the target is used up at once.
        if let Some(due) = clock.due_at()
            && clock.credit <= clock.target
        {
            prop_assert_eq!(clock.elapsed(due), clock.target);
            prop_assert!(clock.breach_at().is_none_or(|breach| breach >= due));
        }
    }

    #[test]
    fn what_comes_first_is_due_first(history in histories(12)) {
        let (clock, _) = history.run(Sweeps::AtTheEnd);
        let instants: Vec<_> = clock.warnings().filter(|(share, _)| share.0 <= 1_000_000).map(|(_, at)| at).collect();
        let known: Vec<_> = instants.iter().copied().chain([clock.due_at(), clock.breach_at()]).collect();
        let reached = known.iter().take_while(|at| at.is_some()).count();
        prop_assert!(known[..reached].is_sorted(), "{known:?}");
        prop_assert!(known[reached..].iter().all(Option::is_none), "{known:?}");
    }

    #[test]
    fn nothing_elapses_while_it_is_closed(history in histories(10)) {
        let (clock, _) = history.run(Sweeps::AtTheEnd);
        let open = |second| clock.calendar.is_open(at(second));
        for second in (0..history.end).filter(|second| !open(*second)) {
            prop_assert_eq!(clock.elapsed(at(second)), clock.elapsed(at(second + 1)), "at {}", second);
        }
    }

    #[test]
    fn letting_go_and_holding_again_at_once_changes_nothing(
        history in histories(12), place in any::<proptest::sample::Index>(), hold in any::<bool>(), early in 0..20_i64,
    ) {
        let hold = if hold { Hold::Manual } else { Hold::Status };
        let index = place.index(history.commands.len() + 1);
        let mut before = history.clone();
        before.commands.truncate(index);
        let next = history.commands.get(index).map_or(history.end, |(at, _)| *at);
        let last = before.commands.last().map_or(0, |(at, _)| *at);
        before.end = (next - early).max(last);
        let (clock, _) = before.run(Sweeps::AtTheEnd);
        if !clock.is_open() {
            return Ok(());
        }
        let held = match hold { Hold::Manual => clock.held_manually, Hold::Status => clock.held_by_status };
        let pair = if held { [Command::Resume(hold), Command::Pause(hold)] } else { [Command::Pause(hold), Command::Resume(hold)] };
        let mut with = history.clone();
        with.commands.splice(index..index, pair.map(|command| (before.end, command)));
        prop_assert_eq!(outcome(&with), outcome(&history));
    }
}

/// How a history ends, but for what was recorded of pauses.
fn outcome(history: &History) -> impl PartialEq + std::fmt::Debug {
    let (clock, recorded) = history.run(Sweeps::AtTheEnd);
    let fired: Vec<_> = log(&recorded)
        .into_iter()
        .filter(|(_, what)| !what.starts_with("paused") && !what.starts_with("resumed"))
        .collect();
    let end = clock.elapsed(at(history.end));
    (fired, end, clock.due_at(), clock.breach_at(), clock.state(), clock.next_fire_at())
}
