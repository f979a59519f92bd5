/*
 * Counts allocations from outside: preloaded into the release program, which is not changed for
 * it. The count lives in a file that is mapped shared, so that it is read while the program runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, under names that a preloaded library does not hide. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

/* Counts here until the file is mapped: the loader allocates before any constructor runs. */
static uint64_t before;
static uint64_t *count = &before;

static void one_more(void)
{
    __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void map_count(void)
{
    const char *path = getenv("LODGER_MALLOC_COUNT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof before, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) {
        *(uint64_t *)page = before;
        count = page;
    }
}

void *malloc(size_t size)
{
    one_more();
    return __libc_malloc(size);
}

void *calloc(size_t items, size_t size)
{
    one_more();
    return __libc_calloc(items, size);
}

void *realloc(void *old, size_t size)
{
    one_more();
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    one_more();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    one_more();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    one_more();
    void *memory = __libc_memalign(alignment, size);
    if (!memory)
        return ENOMEM;
    *out = memory;
    return 0;
}
