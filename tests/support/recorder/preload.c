/* A library to preload: logs every file that a process opens for writing, renames, links or deletes.
 *
 * It sees the C library's functions, which compilers, assemblers, linkers, ar and Python all call. It does not see
 * a statically linked program, nor what glibc opens for itself: mkstemp() is therefore hooked on its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "record.h"

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The path as seen from the root; not normalised, which the reader does. */
static const char *absolute(int folder, const char *path, char *space)
{
    char link[64];
    if (path[0] == '/')
        return path;
    if (folder == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, space, PATH_MAX);
    if (length < 0)
        return path;
    snprintf(space + length, PATH_MAX, "/%s", path);
    return space;
}

static void one_path(const char *operation, int folder, const char *path)
{
    char space[2 * PATH_MAX + 2];
    int before = errno;
    const char *fields[] = {absolute(folder, path, space)};
    record_event(operation, fields, 1);
    errno = before;
}

static void two_paths(const char *operation, int folder, const char *from, int other, const char *to)
{
    char space[2 * PATH_MAX + 2], more[2 * PATH_MAX + 2];
    int before = errno;
    const char *fields[] = {absolute(folder, from, space), absolute(other, to, more)};
    record_event(operation, fields, 2);
    errno = before;
}

static int writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
}

#define MODE_OF(flags)                                                                       \
    mode_t mode = 0;                                                                         \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {                         \
        va_list more;                                                                        \
        va_start(more, flags);                                                               \
        mode = va_arg(more, mode_t);                                                         \
        va_end(more);                                                                        \
    }

/* A path is logged before it is touched: the order of lines is then never too late. */
#define OPEN(name)                                                                           \
    int name(const char *path, int flags, ...)                                               \
    {                                                                                        \
        MODE_OF(flags)                                                                       \
        if (writes(flags))                                                                   \
            one_path("write", AT_FDCWD, path);                                               \
        return REAL(name)(path, flags, mode);                                                \
    }
#define OPENAT(name)                                                                         \
    int name(int folder, const char *path, int flags, ...)                                   \
    {                                                                                        \
        MODE_OF(flags)                                                                       \
        if (writes(flags))                                                                   \
            one_path("write", folder, path);                                                 \
        return REAL(name)(folder, path, flags, mode);                                        \
    }
#define CREAT(name)                                                                          \
    int name(const char *path, mode_t mode)                                                  \
    {                                                                                        \
        one_path("write", AT_FDCWD, path);                                                   \
        return REAL(name)(path, mode);                                                       \
    }
#define FOPEN(name)                                                                          \
    FILE *name(const char *path, const char *mode)                                           \
    {                                                                                        \
        if (strpbrk(mode, "wa+"))                                                            \
            one_path("write", AT_FDCWD, path);                                               \
        return REAL(name)(path, mode);                                                       \
    }
#define FREOPEN(name)                                                                        \
    FILE *name(const char *path, const char *mode, FILE *stream)                             \
    {                                                                                        \
        if (path && strpbrk(mode, "wa+"))                                                    \
            one_path("write", AT_FDCWD, path);                                               \
        return REAL(name)(path, mode, stream);                                               \
    }
#define TRUNCATE(name, size)                                                                 \
    int name(const char *path, size length)                                                  \
    {                                                                                        \
        one_path("write", AT_FDCWD, path);                                                   \
        return REAL(name)(path, length);                                                     \
    }
/* The name is known only afterwards. */
#define MKSTEMP(name, parameters, arguments)                                                 \
    int name parameters                                                                      \
    {                                                                                        \
        int file = REAL(name) arguments;                                                     \
        if (file >= 0)                                                                       \
            one_path("write", AT_FDCWD, path);                                               \
        return file;                                                                         \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
CREAT(creat)
CREAT(creat64)
FOPEN(fopen)
FOPEN(fopen64)
FREOPEN(freopen)
FREOPEN(freopen64)
TRUNCATE(truncate, off_t)
TRUNCATE(truncate64, off64_t)
MKSTEMP(mkstemp, (char *path), (path))
MKSTEMP(mkstemp64, (char *path), (path))
MKSTEMP(mkostemp, (char *path, int flags), (path, flags))
MKSTEMP(mkostemp64, (char *path, int flags), (path, flags))
MKSTEMP(mkstemps, (char *path, int suffix), (path, suffix))
MKSTEMP(mkstemps64, (char *path, int suffix), (path, suffix))
MKSTEMP(mkostemps, (char *path, int suffix, int flags), (path, suffix, flags))
MKSTEMP(mkostemps64, (char *path, int suffix, int flags), (path, suffix, flags))

int rename(const char *from, const char *to)
{
    two_paths("rename", AT_FDCWD, from, AT_FDCWD, to);
    return REAL(rename)(from, to);
}

int renameat(int folder, const char *from, int other, const char *to)
{
    two_paths("rename", folder, from, other, to);
    return REAL(renameat)(folder, from, other, to);
}

int renameat2(int folder, const char *from, int other, const char *to, unsigned flags)
{
    two_paths("rename", folder, from, other, to);
    return REAL(renameat2)(folder, from, other, to, flags);
}

int link(const char *from, const char *to)
{
    two_paths("link", AT_FDCWD, from, AT_FDCWD, to);
    return REAL(link)(from, to);
}

int linkat(int folder, const char *from, int other, const char *to, int flags)
{
    two_paths("link", folder, from, other, to);
    return REAL(linkat)(folder, from, other, to, flags);
}

int symlink(const char *target, const char *path)
{
    one_path("write", AT_FDCWD, path);
    return REAL(symlink)(target, path);
}

int unlink(const char *path)
{
    one_path("unlink", AT_FDCWD, path);
    return REAL(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags)
{
    if (!(flags & AT_REMOVEDIR))
        one_path("unlink", folder, path);
    return REAL(unlinkat)(folder, path, flags);
}
