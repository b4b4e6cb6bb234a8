/* A wall clock that somebody sets: preloaded into one program, it adds the seconds that the file STEPPED_CLOCK names to
 * the time of day, each time that is asked for. Steady clocks, and with them every wait, go on as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char file[4096];

/* The programs that this one starts are on other machines, or have no say in what is recorded. */
__attribute__((constructor)) static void alone(void)
{
    const char *name = getenv("STEPPED_CLOCK");
    for (size_t i = 0; name && name[i] && i < sizeof file - 1; i++)
        file[i] = name[i];
    unsetenv("LD_PRELOAD");
}

static long stepped(void)
{
    char text[32] = {0};
    int handle = open(file, O_RDONLY | O_CLOEXEC);
    if (handle < 0)
        return 0;
    ssize_t count = read(handle, text, sizeof text - 1);
    close(handle);
    return count > 0 ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (status == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += stepped();
    return status;
}

time_t time(time_t *now)
{
    struct timespec here;
    clock_gettime(CLOCK_REALTIME, &here);
    if (now)
        *now = here.tv_sec;
    return here.tv_sec;
}
