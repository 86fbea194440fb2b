/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread with syscall user dispatch (wine) has its system calls handed to a handler of its own,
 * those of ours as well. Nobody can ask whether it is on. So who switches it on is without the
 * library from then on: the signal is ignored, which the requester sees.
 */
#include <stdarg.h>
#include <sys/prctl.h>
#include "libinproc/wrap.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59 /* Linux 5.11 */
#endif

static void stand_back(void)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} ignore = { .handler = (uint64_t)SIG_IGN };

	ckpt_sys(SYS_rt_sigaction, ckpt_config.signal, &ignore, NULL, 8);
}

CKPT_EXPORT int prctl(int option, ...)
{
	unsigned long arg[4];
	va_list list;

	va_start(list, option);
	for (int i = 0; i < 4; i++)
		arg[i] = va_arg(list, unsigned long);
	va_end(list);
	if (ckpt_config.on && option == PR_SET_SYSCALL_USER_DISPATCH && arg[0])
		stand_back();
	return REAL(prctl)(option, arg[0], arg[1], arg[2], arg[3]);
}
