/* Runs a command and appends a line to a file: seconds of the clock, of processors in the program, of processors in the
 * kernel, and the largest resident size in KiB of one process. What the command's own children took is counted too.
 *   used FILE COMMAND [ARGUMENT]...     exits with the command's status */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static double seconds(struct timeval time)
{
	return time.tv_sec + time.tv_usec / 1e6;
}

int main(int count, char **arguments)
{
	pid_t child;
	int status;
	struct rusage usage;
	if (count < 3) {
		fprintf(stderr, "usage: used FILE COMMAND [ARGUMENT]...\n");
		return 125;
	}
	double start = now();
	if (posix_spawnp(&child, arguments[2], NULL, NULL, arguments + 2, environ)) {
		fprintf(stderr, "used: cannot run %s\n", arguments[2]);
		return 127;
	}
	while (wait4(child, &status, 0, &usage) < 0) {
	}
	double end = now();
	FILE *file = fopen(arguments[1], "a");
	if (!file || fprintf(file, "%.3f %.3f %.3f %ld\n", end - start, seconds(usage.ru_utime), seconds(usage.ru_stime),
			     usage.ru_maxrss) < 0 || fclose(file)) {
		perror(arguments[1]);
		return 125;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
