/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For scripts: `victim SORT DIR` starts a victim (tests/lib/victim.h), prints its number and stays
 * as its parent until it has ended; `victim well DIR` tells by its exit status whether the one that
 * beats in DIR/heart is well.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/proc.h"
#include "tests/lib/victim.h"

static int look(const char *dir)
{
	char *path = test_text("%s/heart", dir), why[300];
	int fd = open(path, O_RDWR);
	struct victim_heart *heart =
		mmap(NULL, sizeof(*heart), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (heart == MAP_FAILED) {
		perror(path);
		return 2;
	}
	if (victim_well(heart, 0, why, sizeof(why)))
		return 0;
	printf("%s\n", why);
	return 1;
}

int main(int argc, char **argv)
{
	struct victim_heart *heart;
	pid_t pid;

	if (argc == 4)
		return victim_main(argc, argv);
	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "well"))
		return look(argv[2]);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = victim_start("/proc/self/exe", argv[1], argv[2], &heart);
	if (!pid)
		return 1;
	printf("%d\n", pid);
	fflush(stdout);
	close(1);
	/* Also of what a restore brings back, if it was started below of us. */
	while (wait(NULL) > 0)
		;
	return 0;
}
