use std::net::UdpSocket;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::io::fcntl_getfd;
use rustix::net::socket;
use rustix::net::sockopt::tcp_nodelay;

use super::*;

fn net() -> OsNet {
    OsNet::new().unwrap()
}

fn tcp(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

/// Repeats a call that would block until it does not.
fn patiently<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                assert!(began.elapsed() < Duration::from_secs(5), "blocked for good");
                std::thread::yield_now();
            }
            other => return other,
        }
    }
}

/// Connects to `listener` and accepts; gives both ends.
fn join(net: &OsNet, listener: Sock) -> (Sock, Sock) {
    let near = net.connect(&net.local_addr(listener).unwrap()).unwrap();
    (near, patiently(|| net.accept(listener)).unwrap())
}

fn pair(net: &OsNet) -> (Sock, Sock) {
    let listener = net.listen(&tcp("127.0.0.1:0")).unwrap();
    let ends = join(net, listener);
    net.close(listener);
    ends
}

/// A path in a directory that is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lodger-mio-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.join("s.sock")
    }

    fn addr(&self) -> Addr {
        Addr::Unix(self.path())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn send_all(net: &OsNet, sock: Sock, bytes: &[u8]) {
    let n = patiently(|| net.send(sock, &[IoSlice::new(bytes)])).unwrap();
    assert_eq!(n, bytes.len());
}

fn read(net: &OsNet, sock: Sock) -> io::Result<Vec<u8>> {
    let mut buf = [0; 256];
    patiently(|| net.recv(sock, &mut buf)).map(|n| buf[..n].to_vec())
}

#[test]
fn bytes_go_both_ways_and_end() {
    let net = net();
    let (near, far) = pair(&net);

    send_all(&net, near, b"there");
    let parts = [IoSlice::new(b"and "), IoSlice::new(b""), IoSlice::new(b"back")];
    assert_eq!(net.send(far, &parts).unwrap(), 8);
    assert_eq!(net.send(far, &[]).unwrap(), 0);
    net.shutdown(far).unwrap();

    assert_eq!(read(&net, far).unwrap(), b"there");
    assert_eq!(read(&net, near).unwrap(), b"and back");
    assert_eq!(read(&net, near).unwrap(), b"");
    send_all(&net, near, b"half");
    assert_eq!(read(&net, far).unwrap(), b"half");
}

#[test]
fn sockets_are_quick_and_closed_on_exec() {
    let net = net();
    let (near, far) = pair(&net);
    for sock in [near, far] {
        net.with(sock, |fd| {
            assert!(tcp_nodelay(fd)?);
            assert!(fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC));
            Ok(())
        })
        .unwrap();
        let mut buf = [0; 1];
        assert_eq!(net.recv(sock, &mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn addresses_are_those_of_both_ends() {
    let net = net();
    let (near, far) = pair(&net);

    assert_eq!(net.local_addr(near).unwrap(), net.peer_addr(far).unwrap());
    assert_eq!(net.peer_addr(near).unwrap(), net.local_addr(far).unwrap());
    assert_ne!(net.local_addr(near).unwrap().tcp().unwrap().port(), 0);
}

#[test]
fn ipv6_listens_where_there_is_any() {
    let net = net();
    match net.listen(&tcp("[::1]:0")) {
        Ok(listener) => {
            let (near, far) = join(&net, listener);
            send_all(&net, near, b"six");
            assert_eq!(read(&net, far).unwrap(), b"six");
        }
        Err(e) => println!("skipped: no IPv6 here ({e})"),
    }
}

#[test]
fn a_taken_address_is_refused() {
    let net = net();
    let listener = net.listen(&tcp("127.0.0.1:0")).unwrap();

    let again = net.listen(&net.local_addr(listener).unwrap());

    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_refused_connect_is_told_by_take_error() {
    let net = net();
    let listener = net.listen(&tcp("127.0.0.1:0")).unwrap();
    let addr = net.local_addr(listener).unwrap();
    net.close(listener);

    // The loopback may refuse within the call or after it.
    let refusal = match net.connect(&addr) {
        Err(e) => e,
        Ok(sock) => patiently(|| {
            net.take_error(sock)?.map_or_else(|| Err(io::ErrorKind::WouldBlock.into()), Ok)
        })
        .unwrap(),
    };

    assert_eq!(refusal.kind(), io::ErrorKind::ConnectionRefused);
}

/// A socket that met itself would hear its own request as the answer.
#[test]
fn a_connection_to_itself_is_refused() {
    let net = net();
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let own = SocketAddr::try_from(getsockname(&fd).unwrap()).unwrap();
    connect(&fd, &own).unwrap();
    let sock = net.adopt(fd).unwrap();

    let refusal = net.take_error(sock).unwrap().map(|e| e.kind());

    assert_eq!(refusal, Some(io::ErrorKind::ConnectionRefused));
    let (near, far) = pair(&net);
    assert!(net.take_error(near).unwrap().is_none() && net.take_error(far).unwrap().is_none());
}

#[test]
fn a_stale_name_names_nothing() {
    let net = net();
    let (near, far) = pair(&net);
    net.close(near);
    let (again, _other) = pair(&net);

    assert_ne!(near, again);
    let gone = io::ErrorKind::NotConnected;
    assert_eq!(net.recv(near, &mut [0]).unwrap_err().kind(), gone);
    assert_eq!(net.send(near, &[IoSlice::new(b"x")]).unwrap_err().kind(), gone);
    assert_eq!(net.accept(near).unwrap_err().kind(), gone);
    assert_eq!(net.shutdown(near).unwrap_err().kind(), gone);
    assert_eq!(net.take_error(near).unwrap_err().kind(), gone);
    assert_eq!(net.local_addr(near).unwrap_err().kind(), gone);
    assert_eq!(net.peer_addr(near).unwrap_err().kind(), gone);
    assert!(net.source(near).is_none());
    net.close(near);
    assert!(net.source(far).is_some());
    assert!(net.source(Sock::from_bits(u64::MAX)).is_none());
}

/// A peer that has gone is an error. The process would die here of a signal if a send asked for
/// one, since the test sets no handler; Rust's runtime ignores SIGPIPE, a C host does not.
#[test]
fn sending_to_a_closed_peer_is_an_error() {
    let net = net();
    let (near, far) = pair(&net);
    net.close(far);

    let parts = [IoSlice::new(b"a"), IoSlice::new(b"b")];
    let error = (0..1_000)
        .find_map(|_| {
            std::thread::yield_now();
            net.send(near, &parts).err()
        })
        .unwrap();

    assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
}

#[test]
fn a_unix_listener_removes_its_file() {
    let (net, place) = (net(), Place::new("removes"));
    let listener = net.listen(&place.addr()).unwrap();
    let (near, far) = join(&net, listener);
    send_all(&net, near, b"unix");

    assert_eq!(read(&net, far).unwrap(), b"unix");
    assert_eq!(net.local_addr(far).unwrap(), place.addr());
    assert_eq!(net.peer_addr(far).unwrap(), Addr::Unix(PathBuf::new()));
    net.close(listener);
    assert!(!place.path().exists());

    net.listen(&place.addr()).unwrap();
    drop(net);
    assert!(!place.path().exists());
}

#[test]
fn a_file_put_in_place_of_ours_stays() {
    let (net, place) = (net(), Place::new("stays"));
    let listener = net.listen(&place.addr()).unwrap();
    std::fs::remove_file(place.path()).unwrap();
    std::fs::write(place.path(), "not ours").unwrap();

    net.close(listener);

    assert!(place.path().exists());
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let (net, place) = (net(), Place::new("stale"));
    drop(UnixListener::bind(place.path()).unwrap());
    assert!(place.path().exists());

    let listener = net.listen(&place.addr()).unwrap();

    let (near, far) = join(&net, listener);
    send_all(&net, near, b"new");
    assert_eq!(read(&net, far).unwrap(), b"new");
}

#[test]
fn a_file_that_is_in_use_or_no_socket_is_left_alone() {
    let (net, place) = (net(), Place::new("used"));
    let other = UnixListener::bind(place.path()).unwrap();
    assert_eq!(net.listen(&place.addr()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(UnixStream::connect(place.path()).is_ok());
    drop(other);

    std::fs::remove_file(place.path()).unwrap();
    std::fs::write(place.path(), "precious").unwrap();
    assert_eq!(net.listen(&place.addr()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(place.path()).unwrap(), b"precious");
}

#[test]
fn a_path_of_the_wrong_length_says_how_long_it_may_be() {
    let net = net();
    for path in ["/tmp/".repeat(30), String::new()] {
        let addr = Addr::Unix(PathBuf::from(path));
        for refused in [net.listen(&addr), net.connect(&addr)] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("holds 1 to 10"), "{error}");
        }
    }
}

#[test]
fn many_sockets_have_names_of_their_own() {
    let net = net();
    let socks: Vec<Sock> =
        (0..300).map(|_| net.adopt(UnixStream::pair().unwrap().0.into()).unwrap()).collect();
    socks.iter().step_by(2).for_each(|sock| net.close(*sock));
    let again: Vec<Sock> =
        (0..150).map(|_| net.adopt(UnixStream::pair().unwrap().0.into()).unwrap()).collect();

    for (i, sock) in socks.iter().enumerate() {
        assert_eq!(net.source(*sock).is_some(), i % 2 == 1);
        assert!(!again.contains(sock));
    }
    assert!(again.iter().all(|sock| net.source(*sock).is_some()));
}

#[test]
fn adopted_sockets_do_not_block_and_are_closed_on_exec() {
    let net = net();
    let listener = OwnedFd::from(UnixStream::pair().unwrap().0);
    fcntl_setfd(&listener, FdFlags::empty()).unwrap();

    let sock = net.adopt(listener).unwrap();

    net.with(sock, |fd| {
        assert!(fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC));
        Ok(())
    })
    .unwrap();
    assert_eq!(read(&net, sock).unwrap(), b"");
}

#[test]
fn an_adopted_listener_accepts_and_keeps_its_file() {
    let (net, place) = (net(), Place::new("inherited"));
    let listener = net.adopt(UnixListener::bind(place.path()).unwrap().into()).unwrap();
    assert_eq!(net.accept(listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);

    let (near, far) = join(&net, listener);

    send_all(&net, near, b"inherited");
    assert_eq!(read(&net, far).unwrap(), b"inherited");
    net.close(listener);
    assert!(place.path().exists());
}

#[test]
fn what_cannot_be_adopted_is_given_back() {
    let net = net();
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let datagrams = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let unconnected = system::open(AddressFamily::INET, SocketType::STREAM).unwrap();
    for fd in [file, datagrams, unconnected] {
        let number = fd.as_raw_fd();
        let (back, error) = net.adopt(fd).unwrap_err();
        assert_eq!(back.as_raw_fd(), number, "{error}");
    }
}

#[test]
fn random_bytes_and_the_time_are_plausible() {
    let net = net();
    let (mut a, mut b) = ([0; 64], [0; 64]);

    net.random(&mut a);
    net.random(&mut b);
    net.random(&mut []);

    assert_ne!(a, b);
    assert!(net.unix_time() > 1_700_000_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_part_of_a_file_is_sent_without_a_copy_and_its_end_is_told() {
    let place = Place::new("sendfile");
    std::fs::write(place.0.join("f"), "0123456789").unwrap();
    let net = net();
    let (near, far) = pair(&net);
    let root = net.open_dir(&place.0).unwrap();
    let (file, _) = net.open_beneath(root, "f").unwrap();

    assert_eq!(net.send_file(near, file, 3, 4).unwrap(), 4);
    let mut buf = [0; 16];
    let n = patiently(|| net.recv(far, &mut buf)).unwrap();
    assert_eq!(&buf[..n], b"3456");
    assert_eq!(net.send_file(near, file, 10, 4).unwrap(), 0);

    // The test's `main` is Rust, so SIGPIPE is ignored: an error and no signal.
    net.shutdown(near).unwrap();
    let refused = net.send_file(near, file, 0, 4).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    net.close_file(file);
    let gone = net.send_file(near, file, 0, 4).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
}
