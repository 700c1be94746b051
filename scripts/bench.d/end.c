/* The whole userspace of a guest that only shows it has come this far: as PID 1, restarts the machine at once. */
#include <sys/reboot.h>

int main(void)
{
	return reboot(RB_AUTOBOOT);
}
