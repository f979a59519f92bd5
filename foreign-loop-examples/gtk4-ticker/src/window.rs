//! The window: a chart of the latest prices, and a badge that says how the feed stands.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gtk4::cairo::Context;
use gtk4::glib::{MainLoop, Propagation};
use gtk4::prelude::{BoxExt, DrawingAreaExtManual, GtkWindowExt, WidgetExt};
use gtk4::{Align, CssProvider, DrawingArea, Label, Orientation};

/// Prices that fit into the chart.
const PRICES: usize = 200;

type Prices = Rc<RefCell<VecDeque<f64>>>;

/// What the program shows.
pub(crate) struct Window {
    window: gtk4::Window,
    chart: DrawingArea,
    badge: Label,
    prices: Prices,
    /// When the feed is tried again, while it is gone.
    again: Cell<Option<Instant>>,
}

impl Window {
    pub(crate) fn new() -> Self {
        let prices = Prices::default();
        let chart = DrawingArea::builder().hexpand(true).vexpand(true).build();
        let drawn = Rc::clone(&prices);
        chart.set_draw_func(move |_, cairo, width, height| {
            draw(cairo, f64::from(width), f64::from(height), &drawn.borrow());
        });
        let badge = Label::builder().label("no feed").halign(Align::Start).build();
        badge.set_css_classes(&["badge"]);
        let content = gtk4::Box::new(Orientation::Vertical, 6);
        content.append(&badge);
        content.append(&chart);
        let window = gtk4::Window::builder()
            .title("ticker")
            .default_width(480)
            .default_height(240)
            .child(&content)
            .build();
        Self { window, chart, badge, prices, again: Cell::new(None) }
    }

    /// Shows the window; closing it ends the loop.
    pub(crate) fn show(&self, main_loop: &MainLoop) {
        let css = CssProvider::new();
        css.load_from_data(CSS);
        gtk4::style_context_add_provider_for_display(
            &WidgetExt::display(&self.window),
            &css,
            gtk4::STYLE_PROVIDER_PRIORITY_APPLICATION,
        );
        let main_loop = main_loop.clone();
        self.window.connect_close_request(move |_| {
            main_loop.quit();
            Propagation::Proceed
        });
        self.window.present();
    }

    /// The feed is there.
    pub(crate) fn back(&self) {
        self.again.set(None);
        self.badge.set_css_classes(&["badge", "up"]);
        self.badge.set_label("connected");
    }

    /// The feed is gone, and will be tried again after `wait`.
    pub(crate) fn gone(&self, wait: Duration) {
        self.again.set(Some(Instant::now() + wait));
        self.badge.set_css_classes(&["badge", "down"]);
        self.tick();
    }

    /// A price has come.
    pub(crate) fn price(&self, price: f64) {
        let mut prices = self.prices.borrow_mut();
        if prices.len() == PRICES {
            prices.pop_front();
        }
        prices.push_back(price);
        self.chart.queue_draw();
    }

    /// Counts down to the next attempt.
    pub(crate) fn tick(&self) {
        if let Some(at) = self.again.get() {
            let left = at.saturating_duration_since(Instant::now());
            self.badge.set_label(&format!("retry in {:.1} s", left.as_secs_f64()));
        }
    }
}

/// Draws the prices from left to right, the lowest at the bottom.
fn draw(cairo: &Context, width: f64, height: f64, prices: &VecDeque<f64>) {
    let low = prices.iter().copied().fold(f64::INFINITY, f64::min);
    let high = prices.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = (high - low).max(0.01);
    let step = width / f64::from(u32::try_from(PRICES).unwrap_or(1));
    cairo.set_source_rgb(0.0, 0.4, 1.0);
    cairo.set_line_width(3.0);
    let mut x = 0.0;
    for price in prices {
        cairo.line_to(x, height - 6.0 - (price - low) / range * (height - 12.0));
        x += step;
    }
    // What cannot be drawn is not drawn.
    let _ = cairo.stroke();
}

const CSS: &str = "
window { background: #ffffff; }
.badge { margin: 6px; padding: 4px 10px; border-radius: 6px; background: #888888; color: #ffffff; }
.badge.up { background: #008000; }
.badge.down { background: #cc0000; }
";
