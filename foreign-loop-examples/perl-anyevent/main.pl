#!/usr/bin/perl
# lodger in AnyEvent's loop (EV): an I/O watcher on the guest's descriptor.
use strict;
use warnings;

use AnyEvent;
use FFI::Platypus 2.00;
use FFI::Platypus::Buffer qw(scalar_to_buffer);

my $ffi = FFI::Platypus->new(api => 2, lib => $ENV{LODGER_LIBRARY} // 'liblodger.so');
$ffi->type('(opaque,opaque,opaque,opaque)->void'                => 'route');
$ffi->type('(opaque,uint64,opaque)->void'                       => 'on_open');
$ffi->type('(opaque,uint64,sint32,opaque,size_t,opaque)->void'  => 'on_message');
$ffi->type('(opaque,uint64,sint32,uint16,opaque)->void'         => 'on_closed');
$ffi->attach(@$_) for (
    [lodger_last_error   => []                                               => 'string'],
    [lodger_new          => [qw(opaque opaque*)]                             => 'sint32'],
    [lodger_free         => [qw(opaque)]                                     => 'sint32'],
    [lodger_fd           => [qw(opaque)]                                     => 'sint32'],
    [lodger_dispatch     => [qw(opaque)]                                     => 'sint32'],
    [lodger_host         => [qw(opaque string)]                              => 'sint32'],
    [lodger_server_new   => []                                               => 'opaque'],
    [lodger_server_route => [qw(opaque string string route opaque)]          => 'sint32'],
    [lodger_server_ws    => [qw(opaque string opaque opaque opaque)]         => 'sint32'],
    [lodger_server_live  => [qw(opaque string string)]                       => 'sint32'],
    [lodger_server_tls   => [qw(opaque opaque)]                              => 'sint32'],
    [lodger_listen       => [qw(opaque string opaque uint64*)]               => 'sint32'],
    [lodger_local_addr   => [qw(opaque uint64 opaque size_t)]                => 'sint32'],
    [lodger_respond      => [qw(opaque string string size_t)]                => 'sint32'],
    [lodger_ws_send      => [qw(opaque uint64 sint32 opaque size_t)]         => 'sint32'],
    [lodger_ws_connect   => [qw(opaque opaque opaque opaque opaque)]         => 'sint32'],
);

my ($ticks, $messages, $connected, $left_at, @kept) = (0, 0, 0);
my ($rt, $watcher, $timer);
my $done = AnyEvent->condvar;

sub check { $_[0] >= 0 ? $_[0] : die lodger_last_error(), "\n" }

# Makes a C function of a closure, and gives its address.
sub callback {
    my ($type, $code) = @_;
    push @kept, my $closure = $ffi->closure($code);
    return $ffi->cast($type => 'opaque', $closure);
}

# Packs a struct; gives its address.
sub struct {
    my ($template, @values) = @_;
    push @kept, \my $bytes;
    $bytes = pack $template, @values;
    return (scalar_to_buffer $bytes)[0];
}

# struct lodger_ws_handler: its size, then six functions.
sub handler {
    my (%on) = @_;
    return struct('J7', 56, 0, map({ $_ // 0 } @on{qw(open message writable closed)}), 0);
}

sub get {
    my ($server, $path, $answer) = @_;
    push @kept, my $route = $ffi->closure(sub {
        my $text = $answer->();
        lodger_respond($_[2], 'text/plain; charset=utf-8', $text, length $text);
    });
    check lodger_server_route($server, 'GET', $path, $route, undef);
}

sub leave {
    undef $watcher;
    $left_at = $ticks;
    return 'bye';
}

sub subscribe {
    my ($url) = @_;
    my $handler = handler(
        open    => callback(on_open    => sub { $connected = 1 }),
        message => callback(on_message => sub { $messages++ }),
        closed  => callback(on_closed  => sub { $connected = 0 }),
    );
    # struct lodger_ws_client_options: again for ever, after 100, 200, 400, 800 ms.
    push @kept, my $c_url = "$url\0";
    my $options = struct('J5 l x4 J2 l L J', 80, (scalar_to_buffer $kept[-1])[0], 0, 0, 0, -1,
        struct('L4', 100, 200, 400, 800), 4, 10, 0, 0);
    check lodger_ws_connect($rt, $options, $handler, undef, undef);
}

# Has it be served over TLS. struct lodger_tls_options: its size, two files, and nothing else.
sub secure {
    my ($server, @files) = @_;
    push @kept, my $c_files = [map { "$_\0" } @files];
    my $options = struct('J13', 104, map({ (scalar_to_buffer $_)[0] } @$c_files), (0) x 10);
    check lodger_server_tls($server, $options);
    return 'https';
}

check lodger_new(undef, \$rt);
lodger_host($rt, "AnyEvent $AnyEvent::VERSION (" . AnyEvent::detect() . ", Perl $^V)");
my $server = lodger_server_new();
get($server, '/ticks',  sub { $ticks });
get($server, '/feed',   sub { "$messages " . ($connected ? 'connected' : 'waiting') });
get($server, '/detach', \&leave);
check lodger_server_live($server, '/_lodger', '/');
my $echo = sub { lodger_ws_send(@_[0 .. 4]) };
check lodger_server_ws($server, '/echo', handler(message => callback(on_message => $echo)), undef, undef);
my $scheme = $ENV{LODGER_CERTIFICATE} ? secure($server, @ENV{qw(LODGER_CERTIFICATE LODGER_KEY)}) : 'http';
check lodger_listen($rt, $ENV{LODGER_LISTEN} // '127.0.0.1:0', $server, \my $listener);
my $address = "\0" x 64;
my $length = check lodger_local_addr($rt, $listener, scalar_to_buffer $address);
subscribe($ENV{LODGER_FEED}) if $ENV{LODGER_FEED};
$| = 1;
print "listening on $scheme://", substr($address, 0, $length), "\n";

# The guest: one descriptor, level-triggered.
$watcher = AnyEvent->io(fh => lodger_fd($rt), poll => 'r', cb => sub { lodger_dispatch($rt) });

# The host's own timer.
$timer = AnyEvent->timer(after => 0.01, interval => 0.01, cb => sub {
    $ticks++;
    $done->send if defined $left_at && $ticks >= $left_at + 100;
});
$done->recv;
lodger_free($rt);
my @tasks = glob '/proc/self/task/*';
print '100 more ticks, ', scalar(@tasks), " threads\n";
