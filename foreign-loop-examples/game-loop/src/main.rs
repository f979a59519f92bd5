//! lodger in a game: a hundred frames a second, and the guest gets a turn whenever there is time
//! left in one. Nothing ever waits for it.

#![forbid(unsafe_code)]

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use lodger_example_guest::{Guest, Micros};
use lodger_foreign::Pump;

const FRAME: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let guest = Guest::new()?;
    let mut pump = Some(Pump::new(guest.handle(), "a game loop"));
    let began = Instant::now();
    let mut ball = Ball { height: 1.0, speed: 0.0 };

    for frame in 1_u32.. {
        ball.fall(FRAME);
        // Drawing would be here.
        if guest.tick()? {
            return Ok(());
        }
        let next = FRAME * frame;
        while began.elapsed() < next {
            let now = Micros::new(u64::try_from(began.elapsed().as_micros())?);
            let again = pump.as_ref().map(|pump| pump.turn(now)).transpose()?;
            if guest.has_left() {
                pump = None;
            }
            if !again.is_some_and(|turn| turn.again) {
                let left = next.saturating_sub(began.elapsed());
                thread::sleep(left.min(Duration::from_millis(1)));
            }
        }
    }
    Ok(())
}

/// What the game is about.
struct Ball {
    height: f64,
    speed: f64,
}

impl Ball {
    fn fall(&mut self, time: Duration) {
        self.speed -= 9.81 * time.as_secs_f64();
        self.height += self.speed * time.as_secs_f64();
        if self.height < 0.0 {
            (self.height, self.speed) = (-self.height, -self.speed);
        }
    }
}
