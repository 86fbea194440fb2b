/* SPDX-License-Identifier: Apache-2.0 */
/* Who can be asked: found by looking, nobody is sent anything, and nothing is said of the others.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/inside.h"
#include "injector/ptrace.h"
#include "tools/signal.h"

/* Its words with blanks between them; control characters are replaced where it is printed. */
static void command_of(int dir, char *buf, size_t size)
{
	CKPT_FD fd = openat(dir, "cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = 0;
	for (ssize_t i = 0; i + 1 < n; i++)
		if (!buf[i])
			buf[i] = ' ';
}

static void show(int proc, pid_t pid)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct ckpt_proc_stat stat;
	char name[16], command[1024];
	struct stat st;
	int signal = 0;

	snprintf(name, sizeof(name), "%d", pid);
	CKPT_FD dir = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st) < 0 || (geteuid() && st.st_uid != geteuid()))
		return;
	if (ckpt_inside_check(pid, &signal, &ignored) < 0 || ckpt_proc_stat(pid, &stat) < 0)
		return;
	command_of(dir, command, sizeof(command));
	ckpt_print(STDOUT_FILENO, "%7d %6d %7d %s\n", pid, signal, (int)stat.n_threads, command);
}

int ckpt_signal_list(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	if (!proc) {
		ckpt_print(STDERR_FILENO, "ckpt-signal: /proc: cannot read: %m\n");
		return 1;
	}
	ckpt_print(STDOUT_FILENO, "%7s %6s %7s %s\n", "PID", "SIGNAL", "THREADS", "COMMAND");
	while ((e = readdir(proc))) {
		pid_t pid = atoi(e->d_name);

		if (pid > 0)
			show(dirfd(proc), pid);
	}
	closedir(proc);
	return 0;
}
