/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt-signal: asks a program that was started by ckpt-run for a checkpoint. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "config.h"
#include "tools/signal.h"

/* A file of ours at number 0, 1 or 2 would get what is meant for the terminal. */
static void occupy_standard_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return;
}

int main(int argc, char **argv)
{
	struct ckpt_tool t = { .name = "ckpt-signal", .err = CKPT_ERR_INIT };
	static struct ckpt_signal_options o; /* texts of it live as long */

	if (ckpt_signal_options(&o, argc, argv, &t.err) < 0) {
		/* An engine that the library starts has no terminal; there are the program's
		 * files. */
		if (!o.answer)
			ckpt_report_failure(&t);
		return 2;
	}
	if (o.answer)
		return ckpt_signal_answer(o.pid, o.stop);
	occupy_standard_fds();
	if (o.help) {
		ckpt_signal_help(STDOUT_FILENO);
		return 0;
	}
	if (o.version)
		return dprintf(STDOUT_FILENO, "ckpt-signal %s\n", PACKAGE_VERSION) < 0;
	return o.list ? ckpt_signal_list() : ckpt_signal_dump(&o);
}
