/* Values from other threads: all arrive, in order, and what is left behind is freed. */
#include "rules.h"

#define THREADS 4
#define VALUES 1000

static int done, seen, unseen_freed;
static int last[THREADS];
static lodger_remote *remote;

struct value {
    int thread, number;
};

static void take(lodger_runtime *rt, void *pointer, void *user)
{
    struct value *value = pointer;

    CHECK(rt != NULL && user == &seen);
    CHECK(value->number == last[value->thread] + 1);
    last[value->thread] = value->number;
    free(value);
    done = ++seen == THREADS * VALUES;
}

static void unseen(void *pointer)
{
    free(pointer);
    unseen_freed++;
}

static struct value *make(int thread, int number)
{
    struct value *value = malloc(sizeof(*value));

    CHECK(value);
    value->thread = thread;
    value->number = number;
    return value;
}

static void *post(void *user)
{
    int thread = *(int *)user, i;

    for (i = 1; i <= VALUES; i++)
        CHECK(lodger_remote_post(remote, make(thread, i)) == LODGER_OK);
    return NULL;
}

int main(void)
{
    lodger_runtime *rt = NULL;
    pthread_t threads[THREADS];
    int numbers[THREADS], i;
    struct value *value;

    CHECK(lodger_new(NULL, &rt) == LODGER_OK);
    CHECK(lodger_remote_new(rt, NULL, NULL, NULL, &remote) == LODGER_E_NULL);
    CHECK(lodger_remote_new(rt, take, &seen, unseen, &remote) == LODGER_OK);
    for (i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, post, &numbers[i]) == 0);
    }
    serve_until(rt, &done);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    CHECK(lodger_remote_post(remote, make(0, VALUES + 1)) == LODGER_OK);
    CHECK(lodger_free(rt) == LODGER_OK);
    value = make(0, 0);
    CHECK(lodger_remote_post(remote, value) == LODGER_E_GONE);
    free(value); /* it stayed ours */
    lodger_remote_free(remote);
    CHECK(seen == THREADS * VALUES && unseen_freed == 1);
    return 0;
}
