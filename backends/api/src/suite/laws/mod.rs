//! The laws, each in its file, in the order of the list at the head of the crate.

mod bounded;
mod detach;
mod flow;
mod guests;
mod idle;
mod modal;
mod process;
mod reuse;
mod timers;
mod waker;

pub use bounded::law_2_a_turn_is_bounded;
pub use detach::law_4_detaching_leaves_the_loop_as_it_was;
pub use flow::flow_control;
pub use guests::{a_hundred_stays_leave_nothing, several_guests_share_a_loop};
pub use idle::{law_1_idle_means_no_wakeups, law_9_a_paused_reader_costs_nothing};
pub use modal::law_3_a_callback_may_run_the_host_again;
pub use process::law_10_nothing_is_added_to_the_process;
pub use reuse::law_8_a_reused_number_is_nobody_elses;
pub use timers::{law_5_a_cancelled_timer_never_runs, law_6_a_short_timer_is_late_by_microseconds};
pub use waker::law_7_a_waker_works_from_any_thread;
