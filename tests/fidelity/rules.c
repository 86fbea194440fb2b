/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may differ after a restore, each with the reason why that loses nothing.
 */
#include <fnmatch.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

static const struct {
	const char *pattern, *reason;
	bool boxed; /* only where the restore made namespaces of its own */
} rules[] = {
	{ "*/status/Name", "is compared as comm" },
	{ "*/status/Tgid", "is compared as NStgid" },
	{ "*/status/Pid", "is compared as NSpid" },
	{ "*/status/PPid", "is compared as parent; that of the root is who restored" },
	{ "*/status/FDSize", "room of the descriptor table, not its content" },
	{ "*/status/VmPeak", "a high-water mark" },
	{ "*/status/VmHWM", "a high-water mark" },
	{ "*/status/VmRSS", "pages of files come back when touched" },
	{ "*/status/RssAnon", "pages come back when touched" },
	{ "*/status/RssFile", "pages of files come back when touched" },
	{ "*/status/RssShmem", "pages come back when touched" },
	{ "*/status/HugetlbPages", "shared ones come back when touched" },
	{ "*/status/VmSwap", "memory pressure of the moment" },
	{ "*/status/VmPTE", "page tables follow touched pages" },
	{ "*/status/SigQ", "counts all signals queued by the user" },
	{ "*/status/voluntary_ctxt_switches", "a count of the past" },
	{ "*/status/nonvoluntary_ctxt_switches", "a count of the past" },
	{ "*/status/Mems_allowed*", "belongs to the cpuset of who restores" },
	{ "*/fdinfo/*/ino", "new inode of what was made anew" },
	{ "*/fdinfo/*/eventfd-id", "a number for debuggers" },
	{ "*/fdinfo/*/it_value", "time goes on; stories check what is left" },
	{ "*/fdinfo/*/ticks", "time goes on; stories check the count" },
	{ "*/fdinfo/*/mnt_id",
	  "pipes, sockets and memory files live in mounts inside of the kernel" },
	{ "*/fdinfo/*/Pid", "is compared as NSpid", true },
	{ "*/ns/user", "its own", true },
	{ "*/ns/pid", "its own", true },
	{ "*/ns/mnt", "its own, for its /proc", true },
	{ "*/ns/ipc", "its own, where a System V segment has to be made", true },
	{ "*/ns/time", "its own, for its clocks", true },
	{ "*/timers", "numbers of processes are shown as seen from outside", true },
	{ "*/timerslack", "the owner of the namespace may read it, an ordinary user not", true },
	{ "*/status/CapBnd", "a bound that a new user namespace starts with", true },
};

bool oracle_allowed(const char *key, bool boxed)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if ((boxed || !rules[i].boxed) && fnmatch(rules[i].pattern, key, 0) == 0)
			return true;
	return false;
}
