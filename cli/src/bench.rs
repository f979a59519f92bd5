pub(crate) const NOTES: &str = "";
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    url: String,
}
pub(crate) fn run(_: &Options) -> Result<(), crate::report::Problem> {
    Ok(())
}
