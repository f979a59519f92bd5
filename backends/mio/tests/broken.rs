//! For each law, backends that break it: a driver with a fault, a host with a lapse or a guest
//! with a flaw. The law must notice each.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use lodger_backend::suite::{
    Alone, Broken, Fault, Flaw, Lapse, Loop, Subject, Watcher, Watching, alone, assert_caught,
    flow_control, law_1_idle_means_no_wakeups, law_2_a_turn_is_bounded,
    law_3_a_callback_may_run_the_host_again, law_4_detaching_leaves_the_loop_as_it_was,
    law_5_a_cancelled_timer_never_runs, law_6_a_short_timer_is_late_by_microseconds,
    law_7_a_waker_works_from_any_thread, law_8_a_reused_number_is_nobody_elses,
    law_9_a_paused_reader_costs_nothing, law_10_nothing_is_added_to_the_process,
};
use lodger_backend::{Driver, Net};
use lodger_mio::{MioDriver, OsNet};

/// How long a law waits for what a broken backend will not do.
const PATIENCE: Duration = Duration::from_millis(600);

fn net() -> io::Result<Rc<dyn Net>> {
    Ok(Rc::new(OsNet::new()?))
}

fn driver() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(MioDriver::new()?))
}

fn nested() -> io::Result<Rc<dyn Loop>> {
    Ok(Rc::new(Watcher::new(Watching::Level)))
}

fn standalone() -> io::Result<Rc<dyn Loop>> {
    Ok(Rc::new(Alone::new()))
}

fn fault(fault: Fault) -> Subject {
    let broken =
        move || -> io::Result<Box<dyn Driver>> { Ok(Box::new(Broken::new(driver()?, fault))) };
    Subject::new(format!("{fault:?}"), broken, net, nested).with_patience(PATIENCE)
}

fn lapse(lapse: Lapse) -> Subject {
    let broken = move || -> io::Result<Rc<dyn Loop>> {
        Ok(Rc::new(Watcher::broken(Watching::Level, lapse)))
    };
    Subject::new(format!("{lapse:?}"), driver, net, broken).with_patience(PATIENCE)
}

/// Standalone, so that no host hides what the guest does.
fn flaw(flaw: Flaw) -> Subject {
    Subject::new(format!("{flaw:?}"), driver, net, standalone)
        .with_flaw(flaw)
        .with_patience(PATIENCE)
}

macro_rules! caught {
    ($($law:ident { $($name:ident: $subject:expr,)* })*) => {
        $(
            mod $law {
                use super::*;
                $(
                    #[test]
                    fn $name() {
                        assert_caught(&$subject, super::$law);
                    }
                )*
            }
        )*
    };
}

caught! {
    law_1_idle_means_no_wakeups {
        a_driver_that_asks_for_turns_is_caught: fault(Fault::Restless),
        a_host_that_spins_is_caught: lapse(Lapse::Spins),
    }
    law_2_a_turn_is_bounded {
        a_guest_that_ignores_the_budget_is_caught: flaw(Flaw::IgnoresBudget),
        a_guest_that_forgets_the_rest_is_caught: flaw(Flaw::ForgetsTheRest),
        a_driver_that_ignores_requests_is_caught: fault(Fault::IgnoresRequests),
        a_host_that_dispatches_without_end_is_caught: lapse(Lapse::Greedy),
    }
    law_3_a_callback_may_run_the_host_again {
        a_guest_that_is_deaf_inside_is_caught: flaw(Flaw::DeafInside),
        a_guest_that_serves_what_is_on_the_stack_is_caught: flaw(Flaw::Reenters),
        a_driver_that_ignores_requests_is_caught: fault(Fault::IgnoresRequests),
        a_host_that_holds_the_guest_is_caught: lapse(Lapse::HoldsWhileModal),
    }
    law_4_detaching_leaves_the_loop_as_it_was {
        a_host_that_goes_on_is_caught: lapse(Lapse::KeepsDispatching),
        a_host_that_never_says_done_is_caught: lapse(Lapse::NeverDone),
        a_host_without_a_name_is_caught: lapse(Lapse::Nameless),
    }
    law_5_a_cancelled_timer_never_runs {
        a_guest_that_ignores_cancel_is_caught: flaw(Flaw::IgnoresCancel),
        a_guest_that_runs_zero_delays_at_once_is_caught: flaw(Flaw::ZeroDelayAtOnce),
    }
    law_6_a_short_timer_is_late_by_microseconds {
        a_driver_whose_clock_hurries_is_caught: fault(Fault::HurriedClock),
        a_driver_of_whole_milliseconds_is_caught: fault(Fault::WholeMilliseconds),
        a_driver_that_arms_once_is_caught: fault(Fault::OneAlarm),
    }
    law_7_a_waker_works_from_any_thread {
        a_driver_that_loses_wakes_is_caught: fault(Fault::LosesWakes),
        a_driver_that_counts_wakes_is_caught: fault(Fault::CountsWakes),
        a_host_that_goes_on_is_caught: lapse(Lapse::KeepsDispatching),
    }
    law_8_a_reused_number_is_nobody_elses {
        a_driver_that_knows_numbers_only_is_caught: fault(Fault::KnowsNumbersOnly),
        a_guest_that_ignores_generations_is_caught: flaw(Flaw::IgnoresGeneration),
    }
    law_9_a_paused_reader_costs_nothing {
        a_driver_that_repeats_input_is_caught: fault(Fault::RepeatsInput),
        a_guest_that_spins_when_paused_is_caught: flaw(Flaw::SpinsWhenPaused),
    }
    flow_control {
        a_driver_that_loses_writability_is_caught: fault(Fault::LosesWritable),
        a_driver_that_repeats_input_is_caught: fault(Fault::RepeatsInput),
        a_driver_that_loses_reports_is_caught: fault(Fault::LosesReports),
    }
}

mod law_10_nothing_is_added_to_the_process {
    use super::*;

    #[test]
    fn a_driver_with_a_thread_is_caught() {
        alone(concat!(module_path!(), "::a_driver_with_a_thread_is_caught"), || {
            assert_caught(&fault(Fault::HasAThread), law_10_nothing_is_added_to_the_process);
        });
    }

    #[test]
    fn a_driver_that_leaves_a_descriptor_is_caught() {
        alone(concat!(module_path!(), "::a_driver_that_leaves_a_descriptor_is_caught"), || {
            let subject = fault(Fault::LeavesADescriptor);
            assert_caught(&subject, law_10_nothing_is_added_to_the_process);
        });
    }
}
