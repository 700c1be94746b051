/* Runs a command and appends two lines to a file: `NANOSECONDS exec` and `NANOSECONDS exit` of CLOCK_MONOTONIC.
 *   timed FILE COMMAND [ARGUMENT]...     exits with the command's status
 * The clock is read right before the process is created and right after it has ended. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char **arguments)
{
	pid_t child;
	int status;
	if (count < 3) {
		fprintf(stderr, "usage: timed FILE COMMAND [ARGUMENT]...\n");
		return 125;
	}
	long long start = now();
	if (posix_spawnp(&child, arguments[2], NULL, NULL, arguments + 2, environ)) {
		fprintf(stderr, "timed: cannot run %s\n", arguments[2]);
		return 127;
	}
	while (waitpid(child, &status, 0) < 0) {
	}
	long long end = now();
	FILE *file = fopen(arguments[1], "a");
	if (!file || fprintf(file, "%lld exec\n%lld exit\n", start, end) < 0 || fclose(file)) {
		perror(arguments[1]);
		return 125;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
