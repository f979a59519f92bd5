// lodger in Qt's loop: a socket notifier watches the guest's descriptor.
#include <QCoreApplication>
#include <QSocketNotifier>
#include <QTimer>

#include "guest.h"

int main(int argc, char **argv)
{
    QCoreApplication app(argc, argv);
    guest guest;
    guest_prepare(&guest, qPrintable(QString("Qt %1").arg(qVersion())), nullptr, nullptr);

    // The guest: one descriptor, level-triggered.
    QSocketNotifier watcher(lodger_fd(guest.rt), QSocketNotifier::Read);
    QObject::connect(&watcher, &QSocketNotifier::activated, [&] { lodger_dispatch(guest.rt); });
    guest.host = &watcher;
    guest.leave = [](void *host) { static_cast<QSocketNotifier *>(host)->setEnabled(false); };
    guest_listen(&guest, -1);

    // The host's own timer.
    QTimer timer;
    timer.setTimerType(Qt::PreciseTimer);
    QObject::connect(&timer, &QTimer::timeout, [&] {
        if (guest_tick(&guest))
            app.quit();
    });
    timer.start(10);

    int status = app.exec();
    lodger_free(guest.rt);
    return status;
}
