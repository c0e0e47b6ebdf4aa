/* record COMMAND...: run a command, log when it starts and ends, and let preload.so log what it and its children write.
 *
 * Stands before a compiler: CC="/path/record gcc". RECORD_LOG names the log, RECORD_PRELOAD the library. Exits as
 * the command does; a signal that ended it ends this process too.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "record.h"

static void preload(void)
{
    const char *library = getenv("RECORD_PRELOAD"), *others = getenv("LD_PRELOAD");
    char value[8192];
    if (!library || (others && strstr(others, library)))
        return;
    snprintf(value, sizeof value, "%s%s%s", library, others ? " " : "", others ? others : "");
    setenv("LD_PRELOAD", value, 1);
}

int main(int count, char **arguments)
{
    char number[64];
    int status;
    if (count < 2 || !getenv("RECORD_LOG")) {
        fputs("record: give a command, and RECORD_LOG in the environment\n", stderr);
        return 121;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    /* A process id alone may come twice. */
    snprintf(number, sizeof number, "%ld.%lld", (long)getpid(),
             (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    setenv("RECORD_COMMAND", number, 1);
    preload();
    record_event("start", (const char *const *)arguments + 1, count - 1);
    pid_t child = fork();
    if (child < 0)
        return 121;
    if (child == 0) {
        execvp(arguments[1], arguments + 1);
        fprintf(stderr, "record: %s: %s\n", arguments[1], strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    snprintf(number, sizeof number, "%d", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    const char *fields[] = {number};
    record_event("end", fields, 1);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 121;
}
