/* What the wrapper and the preloaded library share: how one event becomes one line of the log.
 *
 * TIME PID COMMAND OPERATION FIELD... separated by tabs. TIME is CLOCK_MONOTONIC in nanoseconds. COMMAND names
 * the wrapper above this process (its process id and start), or is "-". In a field every byte outside printable ASCII, the space
 * and "%" are written %XX, so that no path can break a line. A line goes out in one write() to a file opened with
 * O_APPEND: lines of different processes do not mix.
 */
#ifndef RECORD_H
#define RECORD_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RECORD_LINE 65536

static size_t record_escaped(char *line, size_t used, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    line[used++] = '\t';
    for (; *text && used < RECORD_LINE - 8; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte > ' ' && byte < 0x7f && byte != '%') {
            line[used++] = (char)byte;
        } else {
            line[used++] = '%';
            line[used++] = digits[byte >> 4];
            line[used++] = digits[byte & 15];
        }
    }
    return used;
}

/* System calls, not open() and write(): in the library those names are our own. */
static void record_event(const char *operation, const char *const *fields, int count)
{
    char line[RECORD_LINE];
    struct timespec now;
    const char *log = getenv("RECORD_LOG"), *command = getenv("RECORD_COMMAND");
    if (!log)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    size_t used = (size_t)snprintf(line, 256, "%lld\t%ld\t%.40s\t%s",
                                   (long long)now.tv_sec * 1000000000LL + now.tv_nsec,
                                   (long)getpid(), command ? command : "-", operation);
    for (int i = 0; i < count; i++)
        used = record_escaped(line, used, fields[i]);
    line[used++] = '\n';
    int file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                            0644);
    if (file < 0 || syscall(SYS_write, file, line, used) != (long)used) {
        /* A log with holes would prove what is not so. */
        fprintf(stderr, "record: cannot write %s\n", log);
        _exit(120);
    }
    syscall(SYS_close, file);
}

#endif
