//! `bench-gtk MODE [SECONDS]`: the measured guest in GTK's loop, below a window that draws each frame.
//!
//! The guest's priority is below that of GTK's drawing, as of every guest that must never delay a
//! frame. Standard error says how many frames a second were drawn while clients may be there.

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a program that reports")]

use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gtk4::glib;
use gtk4::prelude::*;
use lodger_bench_hosts::script::{Act, Script};

type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// GTK draws at 120.
const BELOW_DRAWING: i32 = 130;

struct Window {
    main: glib::MainLoop,
    script: Script,
    stay: RefCell<Option<lodger_glib::Attached>>,
    began: Instant,
    /// Frames drawn from `FROM` to `UNTIL` hundredths of the time.
    frames: Cell<u32>,
    time: Duration,
    failed: Cell<Option<std::io::Error>>,
}

const FROM: u32 = 15;
const UNTIL: u32 = 75;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [mode] => run(mode, "10"),
        [mode, seconds] => run(mode, seconds),
        _ => Err("usage: bench-gtk MODE [SECONDS]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-gtk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: &str, seconds: &str) -> Res {
    let time = Duration::from_secs(seconds.parse()?);
    gtk4::init()?;
    let window = Rc::new(Window {
        main: glib::MainLoop::new(None, false),
        script: Script::new(mode, time).ok_or("there is no such mode")?,
        stay: RefCell::default(),
        began: Instant::now(),
        frames: Cell::default(),
        time,
        failed: Cell::default(),
    });
    show(&window);
    arm(&window);
    window.main.run();
    if let Some(error) = window.failed.take() {
        return Err(error.into());
    }
    let seconds = time.as_secs_f64() * f64::from(UNTIL - FROM) / 100.0;
    let each = f64::from(window.frames.get()) / seconds;
    eprintln!("{} frames={each:.1}", window.script.found());
    Ok(())
}

/// Shows an area that is drawn anew in each frame.
fn show(window: &Rc<Window>) {
    let area = gtk4::DrawingArea::new();
    let drawn = Rc::clone(window);
    area.set_draw_func(move |_, cairo, width, height| drawn.draw(cairo, width, height));
    area.add_tick_callback(|area, _| {
        area.queue_draw();
        glib::ControlFlow::Continue
    });
    let top = gtk4::Window::builder().title("frames").default_width(400).default_height(300);
    let top = top.child(&area).build();
    top.present();
}

/// The host's own timer.
fn arm(window: &Rc<Window>) {
    let left = window.script.due().saturating_duration_since(Instant::now());
    let next = Rc::clone(window);
    glib::timeout_add_local_once(left, move || match next.tick() {
        Ok(true) => arm(&next),
        over => {
            next.failed.set(over.err());
            next.main.quit();
        }
    });
}

impl Window {
    fn tick(&self) -> std::io::Result<bool> {
        match self.script.tick()? {
            Act::Nothing => {}
            Act::Attach => {
                let guest = self.script.guest().ok_or(std::io::ErrorKind::NotFound)?;
                let context = lodger_glib::Context::new(&self.main.context());
                let stay =
                    lodger_backend::Host::attach(&context.priority(BELOW_DRAWING), Rc::new(guest))?;
                *self.stay.borrow_mut() = Some(stay);
            }
            Act::Detach => {
                let gone = self.stay.borrow_mut().take();
                drop(gone);
                self.script.forget();
            }
            Act::Stop => return Ok(false),
        }
        Ok(true)
    }

    fn draw(&self, cairo: &gtk4::cairo::Context, width: i32, height: i32) {
        let passed = self.began.elapsed();
        if passed >= self.time * FROM / 100 && passed < self.time * UNTIL / 100 {
            self.frames.set(self.frames.get() + 1);
        }
        let at = passed.as_secs_f64().fract() * f64::from(width);
        cairo.rectangle(at, 0.0, 20.0, f64::from(height));
        cairo.set_source_rgb(0.2, 0.6, 0.9);
        // A context that has failed draws nothing: there is nobody to tell.
        let _ = cairo.fill();
    }
}
