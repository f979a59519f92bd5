//! `lodger mqtt`: a broker, and clients.

mod bench;
pub(crate) mod broker;
mod client;
mod fan_out;

use clap::{Args, Subcommand};

use crate::report::Problem;

pub(crate) const NOTES: &str = "\
MQTT 3.1.1 and 5.0. lodger mqtt COMMAND --help tells more about each.";

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Let clients hear what others publish
    #[command(after_help = broker::NOTES)]
    Broker(broker::Options),

    /// Publish a message
    #[command(after_help = client::PUB_NOTES)]
    Pub(client::Publish),

    /// Write the messages that come
    #[command(after_help = client::SUB_NOTES)]
    Sub(client::Subscribe),

    /// Let WebSockets hear what a broker publishes
    #[command(after_help = fan_out::NOTES)]
    FanOut(fan_out::Options),

    /// Keep a broker busy, and measure its deliveries
    #[command(after_help = bench::NOTES)]
    Bench(bench::Options),
}

/// Does what is asked for.
///
/// # Errors
///
/// Whatever the command could not do.
pub(crate) fn run(options: &Options) -> Result<(), Problem> {
    match &options.command {
        Command::Broker(options) => broker::run(options),
        Command::Pub(options) => client::publish(options),
        Command::Sub(options) => client::subscribe(options),
        Command::FanOut(options) => fan_out::run(options),
        Command::Bench(options) => bench::run(options),
    }
}
