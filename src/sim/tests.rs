mod chaos;
mod codec;
mod kernel;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;
use std::io;

use lodger_backend::{
    Addr, Driver, Event, Interest, Micros, Net, Ready, Sock, Source, Token, Trigger,
};

fn addr() -> Addr {
    Addr::parse("127.0.0.1:7681").unwrap()
}

/// What happens to a connection's bytes: what is pushed is sent back.
type Serve = Box<dyn FnMut(Sock, &[u8], &mut Vec<u8>)>;

/// One watched socket of the guest: the three masks of the readiness contract.
struct Watched {
    sock: Sock,
    want: Interest,
    ready: Ready,
    armed: Interest,
    out: Vec<u8>,
    ended: bool,
}

/// The smallest honest guest: a server on a bare driver, for any trigger.
struct Guest {
    driver: Box<dyn Driver>,
    net: Rc<dyn Net>,
    trigger: Trigger,
    watched: BTreeMap<u64, Watched>,
    next: u32,
    listener: u64,
    retry: Option<Micros>,
    serve: Serve,
    /// Takes every short read for "nothing is left", also one that the end has come with.
    hasty: bool,
}

impl Guest {
    fn new(world: &super::World, trigger: Trigger, serve: Serve) -> Self {
        let (driver, net) = (world.driver_with(trigger), world.net());
        let listener = net.listen(&addr()).unwrap();
        let mut guest = Self {
            driver,
            net,
            trigger,
            watched: BTreeMap::new(),
            next: 0,
            listener: 0,
            retry: None,
            serve,
            hasty: false,
        };
        guest.listener = guest.watch(listener);
        guest
    }

    fn echo(world: &super::World, trigger: Trigger) -> Self {
        Self::new(world, trigger, Box::new(|_, bytes, out| out.extend_from_slice(bytes)))
    }

    fn source(&self, sock: Sock) -> Source {
        self.net.source(sock).unwrap()
    }

    fn watch(&mut self, sock: Sock) -> u64 {
        self.next += 1;
        let token = Token::new(self.next, 1);
        let edge = self.trigger == Trigger::Edge;
        let armed = if edge { Interest::BOTH } else { Interest::READ };
        let source = self.source(sock);
        self.driver.watch(source, token, armed).unwrap();
        let watched = Watched {
            sock,
            want: Interest::READ,
            // Writing is tried first.
            ready: Ready::WRITE,
            armed,
            out: Vec::new(),
            ended: false,
        };
        self.watched.insert(token.bits(), watched);
        token.bits()
    }

    /// One turn: wait for reports, do all there is to do. `false` if it would wait forever.
    fn turn(&mut self, timeout: Option<Duration>) -> bool {
        let mut events = Vec::new();
        match self.driver.poll(timeout, &mut events) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Deadlock => return false,
            Err(e) => panic!("{e}"),
        }
        for event in events {
            self.event(event);
        }
        if self.retry.is_some_and(|at| at <= self.driver.now()) {
            self.retry = None;
            self.accept();
        }
        let busy: Vec<u64> = self.watched.keys().copied().filter(|t| *t != self.listener).collect();
        for token in busy {
            self.work(token);
        }
        self.driver.set_deadline(self.retry);
        true
    }

    fn event(&mut self, event: Event) {
        let Some(w) = self.watched.get_mut(&event.token.bits()) else { return };
        w.ready |= event.ready;
        let unwanted = !(Interest::from_bits(event.ready.bits()) & w.armed & !w.want).is_none();
        match self.trigger {
            Trigger::Oneshot => w.armed = Interest::NONE,
            Trigger::Level if unwanted => self.arm(event.token.bits(), true),
            Trigger::Level | Trigger::Edge => {}
        }
        if event.token.bits() == self.listener {
            self.accept();
        }
    }

    /// Asks for reports of what is wanted, not ready and not asked for yet; or just again.
    fn arm(&mut self, token: u64, always: bool) {
        let Some(w) = self.watched.get_mut(&token) else { return };
        let need = w.want & !Interest::from_bits(w.ready.bits());
        let silent = !always && (need & !w.armed).is_none();
        if self.trigger == Trigger::Edge || silent {
            return;
        }
        w.armed = if self.trigger == Trigger::Level { w.want } else { w.armed | need };
        let (sock, armed) = (w.sock, w.armed);
        let source = self.source(sock);
        self.driver.rearm(source, Token::from_bits(token), armed).unwrap();
    }

    fn accept(&mut self) {
        let listener = self.watched[&self.listener].sock;
        loop {
            match self.net.accept(listener) {
                Ok(sock) => drop(self.watch(sock)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.retry = Some(self.driver.now() + Duration::from_millis(10));
                    break;
                }
            }
        }
        let listener = self.listener;
        self.watched.get_mut(&listener).unwrap().ready = Ready::NONE;
        self.arm(listener, false);
    }

    fn work(&mut self, token: u64) {
        let w = self.watched.get_mut(&token).unwrap();
        if w.serve(&self.net, &mut self.serve, self.hasty).is_err() {
            let gone = self.watched.remove(&token).unwrap();
            return self.driver.release(Token::from_bits(token), gone.sock, &self.net);
        }
        self.arm(token, false);
    }
}

impl Watched {
    /// Reads, serves and writes until one of them has to wait.
    fn serve(&mut self, net: &Rc<dyn Net>, serve: &mut Serve, hasty: bool) -> io::Result<()> {
        let mut buf = [0; 4096];
        while self.ready.is_read() && self.reads() {
            let n = self.read(net, &mut buf)?;
            serve(self.sock, &buf[..n], &mut self.out);
            if n < buf.len() && (hasty || !self.ready.is_hup()) {
                self.ready = self.ready & !Ready::READ;
            }
            self.write(net)?;
        }
        self.write(net)?;
        if self.ended && self.out.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.want = if self.reads() { Interest::READ } else { Interest::NONE };
        self.want |= if self.out.is_empty() { Interest::NONE } else { Interest::WRITE };
        Ok(())
    }

    fn reads(&self) -> bool {
        !self.ended && self.out.len() < 16 << 10
    }

    fn read(&mut self, net: &Rc<dyn Net>, buf: &mut [u8]) -> io::Result<usize> {
        match net.recv(self.sock, buf) {
            Ok(n) => {
                self.ended = n == 0;
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.ready = self.ready & !Ready::READ;
                Ok(0)
            }
            Err(e) => Err(e),
        }
    }

    fn write(&mut self, net: &Rc<dyn Net>) -> io::Result<()> {
        while self.ready.is_write() && !self.out.is_empty() {
            match net.send(self.sock, &[io::IoSlice::new(&self.out)]) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = self.ready & !Ready::WRITE;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Runs a guest until nothing more will happen by itself.
fn run(world: &super::World, guest: &mut Guest) {
    for _ in 0..100_000 {
        let Some(at) = world.next_event() else { return };
        world.advance_to(at);
        guest.turn(Some(Duration::ZERO));
    }
    panic!("the guest spins");
}

/// The same for a guest that waits by itself.
fn run_alone(guest: &mut Guest) {
    assert!((0..100_000).any(|_| !guest.turn(None)), "the guest spins");
}
