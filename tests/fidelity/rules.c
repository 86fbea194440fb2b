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
	{ "*/stat/flags", "flags inside of the kernel: that it forked, used the FPU, ..." },
	{ "*/stat/*faults*", "a count of the past" },
	{ "*/stat/minor_of_children", "a count of the past" },
	{ "*/stat/major_of_children", "a count of the past" },
	{ "*/stat/*_time*", "time that was used belongs to the old process" },
	{ "*/stat/delay", "a count of the past" },
	{ "*/stat/processor", "where it happens to run" },
	{ "*/stat/resident", "pages come back when touched" },
	{ "*/fdinfo/*/ino", "new inode of what was made anew" },
	{ "*/fdinfo/*/eventfd-id", "a number for debuggers" },
	{ "*/fdinfo/*/it_value", "time goes on; stories check what is left" },
	{ "*/fdinfo/*/ticks", "time goes on; stories check the count" },
	{ "*/fdinfo/*/mnt_id",
	  "pipes, sockets and memory files live in mounts inside of the kernel" },
	{ "*/open/*/stat made/inode", "new inode of what was made anew" },
	{ "*/open/*/stat made/device", "each sort lives on a mount inside of the kernel" },
	{ "*/open/*/stat made/?time", "of a pipe, a socket, a memory file: when it was made" },
	{ "*/open/*/stat anonymous/?time", "nobody keeps it" },
	{ "*/open/*/stat proc/?time", "when the kernel first needed it" },
	{ "*/open/*/stat proc/inode", "given to each file when it is looked up" },
	{ "*/open/*/stat proc/device", "its own /proc", true },
	{ "*/open/*/stat nsfs/?time", "when the kernel first needed it" },
	{ "*/open/*/stat nsfs/inode", "a namespace of its own", true },
	{ "*/open/*/stat devpts/?time", "when the terminal was made" },
	{ "*/open/*/stat pidfs/inode", "every process has another" },
	{ "*/open/*/stat pidfs/?time", "when the kernel first needed it" },
	{ "*/open/*/stat mqueue/?time", "when a message last came or went" },
	{ "*/open/*/stat mqueue/inode", "new inode of what was made anew" },
	{ "*/open/*/stat mqueue/device", "each IPC namespace has one, and so has a box", true },
	{ "*/open/*/ns_uid", "its own user namespace", true },
	{ "*/open/*/option tcp 11", "TCP_INFO: counts and times" },
	{ "*/open/*/option tcp 24", "TCP_TIMESTAMP: a clock" },
	{ "*/open/*/stat gone/inode", "new inode of what was made anew" },
	{ "*/open/*/stat gone/ctime", "nobody may set it" },
	{ "*/open/*/stat gone/atime", "reading it for the image is an access" },
	{ "*/open/*/stat named/atime", "reading it is an access" },
	{ "*/open/*/stat */blocks", "holes are kept, how they are allocated is the file system's" },
	{ "*/open/*/outq", "buffers are accounted as they were filled" },
	{ "*/same io", "an io context is made with the first priority, and not shared since" },
	{ "*/default action/*", "mask and flags of a default action mean nothing" },
	{ "*/open/*/option socket 57", "SO_COOKIE: a number that the kernel gives" },
	{ "*/open/*/option socket 55", "SO_MEMINFO: buffers are accounted as they are filled" },
	{ "*/open/*/option socket 17",
	  "SO_PEERCRED: the process as seen from outside; its ids are compared apart", true },
	{ "*/fdinfo/*/Pid", "is compared as NSpid", true },
	{ "*/ns/ipc", "its own, where a System V segment has to be made", true },
	{ "*/ns/user", "its own", true },
	{ "*/ns/pid", "its own", true },
	{ "*/ns/pid_for_children", "its own", true },
	{ "*/ns/mnt", "its own, for its /proc", true },
	{ "*/ns/time", "its own, for its clocks", true },
	{ "*/ns/time_for_children", "its own, for its clocks", true },
	{ "*/sessionid", "a number that the kernel gives with a login" },
	{ "*/timens_offsets", "clocks of its own are moved, so that they go on" },
	{ "*/[ug]id_map", "its own user namespace", true },
	{ "*/setgroups", "its own user namespace", true },
	{ "*/timers", "numbers of processes are shown as seen from outside", true },
	{ "*/timerslack", "the owner of the namespace may read it, an ordinary user not", true },
	{ "*/status/CapBnd", "a bound that a new user namespace starts with", true },
};

bool oracle_allowed(const char *key, bool boxed, const char *const *also)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if ((boxed || !rules[i].boxed) && fnmatch(rules[i].pattern, key, 0) == 0)
			return true;
	for (; also && *also; also++)
		if (fnmatch(*also, key, 0) == 0)
			return true;
	return false;
}
