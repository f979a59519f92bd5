// A dialog of Qt's inside a callback of the guest's: its own event loop serves all others.
#include <QCoreApplication>
#include <QEventLoop>
#include <QSocketNotifier>
#include <QTimer>

#include "rules.h"

static int answers;
static char url[96];

static void fetched(lodger_runtime *, int32_t reason, uint16_t status, const uint8_t *, size_t,
                    void *loop) noexcept
{
    CHECK(reason == LODGER_REASON_DONE && status == 200);
    answers++;
    static_cast<QEventLoop *>(loop)->quit();
}

static void plain(lodger_runtime *, const lodger_request *, lodger_response *response,
                  void *) noexcept
{
    answer_text(response, "plain");
}

static void dialog(lodger_runtime *rt, const lodger_request *, lodger_response *response,
                   void *) noexcept
{
    QEventLoop modal;

    CHECK(lodger_modal_begin(rt) == LODGER_OK);
    CHECK(lodger_fetch(rt, "GET", url, nullptr, 0, 100, fetched, &modal) == LODGER_OK);
    modal.exec();
    CHECK(lodger_modal_end(rt) == LODGER_OK);
    CHECK(answers == 1);
    answer_text(response, "dialog");
}

int main(int argc, char **argv)
{
    QCoreApplication app(argc, argv);
    lodger_server *server = lodger_server_new();
    lodger_runtime *rt = nullptr;
    char base[64], first[96];
    QEventLoop outer;

    CHECK(lodger_new(nullptr, &rt) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/dialog", dialog, nullptr) == LODGER_OK);
    CHECK(lodger_server_route(server, "GET", "/plain", plain, nullptr) == LODGER_OK);
    listen_url(rt, server, "http", base, sizeof(base));
    snprintf(first, sizeof(first), "%s/dialog", base);
    snprintf(url, sizeof(url), "%s/plain", base);

    QSocketNotifier watcher(lodger_fd(rt), QSocketNotifier::Read);
    QObject::connect(&watcher, &QSocketNotifier::activated, [&] { lodger_dispatch(rt); });
    QTimer::singleShot(60000, [] { CHECK(!"the dialog never closed"); });
    CHECK(lodger_fetch(rt, "GET", first, nullptr, 0, 100, fetched, &outer) == LODGER_OK);
    outer.exec();
    CHECK(answers == 2);
    CHECK(lodger_free(rt) == LODGER_OK);
    return 0;
}
