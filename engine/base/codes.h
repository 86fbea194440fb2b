/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of failures that a user can act on: a stable number, the exit
 * status (1 failed, 3 unsupported) and the remedy. Numbers are never reused.
 * 01xx the target, 02xx its state, 03xx the image, 04xx the restore, 05xx this machine.
 */
#pragma once

/* clang-format off */
#define CKPT_CODES(X) \
	X(NO_SUCH_PROCESS,   101, 1, "check the number with ps") \
	X(KERNEL_THREAD,     102, 1, "only user processes can be dumped") \
	X(SELF_IN_TREE,      103, 1, "run ckpt from outside of the tree, or choose another root") \
	X(TRACED,            104, 1, "end the debugger or tracer first") \
	X(NOT_PERMITTED,     105, 1, "run ckpt as the owner of the process, or as root") \
	X(UNTRACEABLE,       490, 1, "run ckpt as root; or start it with ckpt-run, and ask it with ckpt-signal") \
	X(TIMEOUT,           106, 1, "raise --timeout, or find what keeps the process from stopping") \
	X(VANISHED,          107, 1, "start it again, or choose a living process") \
	X(NO_GADGET,         108, 3, "the program offers no place to run a system call safely; use ckpt-run") \
	X(NO_LIBRARY,        109, 1, "start it with ckpt-run, or dump it from outside: ckpt dump -t PID") \
	X(NO_ANSWER,         110, 1, "raise --wait, or dump it from outside: ckpt dump -t PID") \
	X(DISABLED,          111, 1, "ask again when it has called ckpt_enable(), or raise --wait") \
	X(SIGNAL_BLOCKED,    112, 1, "dump it from outside: ckpt dump -t PID") \
	X(STOPPED,           113, 1, "continue it first: kill -CONT PID; or dump it from outside: ckpt dump -t PID") \
	X(HOOK_REFUSED,      114, 1, "ask again later") \
	X(NOT_PRELOADABLE,   115, 3, "run it without ckpt-run and use ckpt dump -t PID") \
	X(MAX_FREEZE,        116, 1, "raise --max-freeze, or dump it when it is less busy") \
	X(NO_COPY,           117, 1, "raise --max-freeze, leave out --max-freeze-action, or make room for one more process of its size") \
	X(FILE_KIND,         201, 3, "close it before the dump") \
	X(EXTERNAL_PEER,     202, 3, "dump the process at the other end too, or close this descriptor before the dump") \
	X(NOT_ACCEPTED,      491, 3, "dump it again once they are accepted, or the other ends too; --skip-in-flight closes them") \
	X(DELETED_FILE,      203, 3, "close it before the dump, or put a file at the path") \
	X(SHELL_JOB,         204, 1, "add --shell-job (-j)") \
	X(AREA_KIND,         205, 3, "unmap it before the dump") \
	X(AREA_FAULTS,       495, 3, "wait for its memory if it was restored --lazy, or for a ckpt that was killed to let go; or unmap it") \
	X(TASK_STATE,        206, 3, "undo this setting before the dump") \
	X(SHARED_STATE,      207, 3, "start the processes without sharing this between them") \
	X(NAMESPACE,         208, 3, "dump from inside of that namespace") \
	X(FILE_LOCK,         209, 3, "add --file-locks (-l), or release the lock before the dump") \
	X(SIGNAL_QUEUE,      210, 3, "let the process take its signals before the dump") \
	X(OUTSIDE_OWNER,     220, 3, "take the owner away (F_SETOWN 0), or dump the process that it is, too") \
	X(WATCH_LOST,        222, 3, "remove the watch before the dump, have the file open, or run ckpt as root") \
	X(QUEUE,             223, 3, "let the process take its messages and end mq_notify before the dump") \
	X(LANDLOCK,          262, 3, "dump it before it confines itself; a domain can be neither read nor made again") \
	X(LEASE_BREAKING,    221, 1, "let the process give its lease up before the dump") \
	X(CONTENT_CHANGED,   260, 1, "dump again, or dump who changes it along with the tree") \
	X(AIO_LIMIT,         265, 1, "raise /proc/sys/fs/aio-max-nr") \
	X(DISPATCH,          264, 3, "dump it again when it is in the code that makes its calls") \
	X(SECCOMP,           230, 3, "run ckpt dump as root, and before it is under a filter that ends or traps it, or asks another process") \
	X(RULE_UNUSED,       252, 1, "look at the names and numbers that `ckpt show` or /proc/PID/fd tell") \
	X(IN_FLIGHT,         254, 3, "let its receiver take it before the dump") \
	X(RULE_FAILS,        253, 1, "leave the rule out to let it pass") \
	X(TERMINAL_DATA,     251, 1, "let its reader read it before the dump") \
	X(TCP_CONNECTION,    250, 3, "close it before the dump, or let it come back closed: --tcp-close") \
	X(LONG_PATH,         280, 3, "move it to a shorter path, or close it before the dump") \
	X(INSIDE_NO_PROC,    281, 1, "mount one there, or dump it from outside: ckpt dump -t PID") \
	X(GHOST_LIMIT,       261, 1, "raise --ghost-limit, or leave it out") \
	X(SHM_PEER,          240, 3, "dump the processes that are attached to it too, or detach it before the dump") \
	X(HUGE_PAGES,        241, 1, "reserve more: /proc/sys/vm/nr_hugepages") \
	X(NO_IMAGE,          301, 1, "give the folder of a finished dump with -D") \
	X(IMAGE_DAMAGED,     302, 1, "take the image from a backup or dump again") \
	X(IMAGE_NEWER,       303, 1, "restore with the ckpt that wrote it, or a newer one") \
	X(IMAGE_EXISTS,      304, 1, "choose another folder with -D, or remove that image") \
	X(IMAGE_UNWRITABLE,  305, 1, "choose a folder that you may write to") \
	X(NO_SPACE,          306, 1, "free space, or choose another folder") \
	X(KIND_UNKNOWN,      307, 3, "restore with the ckpt that wrote it, or a newer one") \
	X(IMAGE_FOREIGN,     308, 1, "only images written by ckpt can be used") \
	X(FOLDER_BUSY,       309, 1, "wait until it is done, or choose another folder with -D") \
	X(NOT_IN_IMAGE,      310, 1, "see what is in it with ckpt show") \
	X(NOT_READABLE,      311, 1, "put back the files as they were at the dump, or choose another address: see ckpt show --memory") \
	X(OUTPUT_EXISTS,     312, 1, "remove it, or choose another file with -o") \
	X(OUTPUT,            313, 1, "free space, or choose another file with -o") \
	X(NO_CONTENT,        314, 1, "see what the descriptors hold with ckpt show") \
	X(PATTERN,           315, 2, "see ckpt-mem(1) for what can be looked for") \
	X(STANDARD_OUTPUT,   316, 1, "see where it leads: not all is there") \
	X(WORKER_KILLED,     317, 1, "see who killed it (dmesg: for want of memory?), and do it again") \
	X(STREAM_READER,     330, 1, "see why it ended, and dump again") \
	X(STREAM_CUT,        331, 1, "see why its writer ended") \
	X(STREAM_TERMINAL,   332, 1, "send it through a pipe, or into a file") \
	X(NO_UNPACK_ROOM,    333, 1, "free memory, or space in that folder") \
	X(PARENT_MISSING,    340, 1, "put the image that it was made from back to where it was, or restore an earlier one") \
	X(PARENT_OTHER,      341, 1, "put back the image that it was made from") \
	X(MEMORY_ONLY,       342, 1, "use the dump that was made after it") \
	X(CHAIN_LONG,        343, 1, "make one image of it with ckpt flatten, or dump without --prev-images-dir") \
	X(NOT_TRACKED,       344, 3, "dump it as a whole, with ckpt dump") \
	X(CHAIN_STREAM,      345, 2, "choose a folder with -D, or leave out --prev-images-dir and --track-mem") \
	X(GIVEN_UP,          355, 1, "use the image that they were given up for, or one that was made after it") \
	X(IMAGE_IN_USE,      356, 1, "wait until nobody reads it any more") \
	X(CANNOT_FREE,       357, 3, "make one image of them with ckpt flatten, and remove the others") \
	X(PID_TAKEN,         401, 1, "end the process that has it, or restore in a pid namespace of its own") \
	X(FILE_MISSING,      402, 1, "put the file back") \
	X(FILE_CHANGED,      403, 1, "put back the file as it was at the dump") \
	X(PRIVILEGE,         404, 1, "restore with that privilege") \
	X(NO_ROOM,           405, 3, "report the address space map with ckpt show") \
	X(NO_TERMINAL,       406, 1, "run the restore from a terminal with --shell-job") \
	X(ADDRESS_IN_USE,    407, 1, "end the program that uses it") \
	X(PIDFILE_EXISTS,    408, 1, "remove it, or choose another file") \
	X(CPU_FEATURE,       409, 3, "restore on a machine whose processor has it") \
	X(LABEL,             263, 1, "run the restore under that label: runcon(1), aa-exec(1)") \
	X(LOCK_TAKEN,        410, 1, "end the program that holds it") \
	X(NO_DEVICE,         419, 1, "put the device there under that name") \
	X(NO_ADDRESS,        420, 1, "give this machine the address, or a way to it") \
	X(SHM_IN_USE,        417, 1, "end the programs that are attached to it (ipcs -mp)") \
	X(SHM_TAKEN,         418, 1, "remove that one (ipcrm -m), or restore as an ordinary user: in an IPC namespace") \
	X(TERMINAL_TAKEN,    421, 1, "end the program that has it, or restore where it is free") \
	X(FILE_BUILD,        425, 1, "install the build that was there at the dump, or dump with --carry mapped") \
	X(FILE_GROWN,        426, 1, "restore with --grown append or --grown truncate, or cut the file yourself") \
	X(FOREIGN_LINK,      427, 1, "put the folder there instead of the link, or give the link to root") \
	X(LAZY_PRIVILEGE,    440, 1, "restore as root, or with --lazy=map, or without --lazy") \
	X(LAZY_ENDED,        441, 1, "restore again from a good image") \
	X(PAGES_AWAY,        350, 1, "put the files of its folder here, or restore from that one") \
	X(KEPT_UNSURE,       351, 1, "look there: what is kept is of a tree that went on here") \
	X(NETWORK,           352, 1, "see that the address is right, and what runs there") \
	X(LENDER,            450, 1, "see whether ckpt lazy-pages runs in that work folder (-W), and what it says") \
	X(OTHER_SIDE,        448, 1, "see what it says, and try again") \
	X(BETWEEN,           449, 1, "look there: if it does not run, let it go on here with kill -CONT; if it does, end it here") \
	X(CONFIG,            510, 1, "correct that line") \
	X(EXTERNAL,          422, 1, "say what takes its place: --inherit-fd fd[N]:KEY, or --rule KEY=ACTION") \
	X(RULE_CANNOT,       423, 1, "choose another action for it") \
	X(CONFIG_FILE,       511, 1, "name another one, or read none with --no-default-config") \
	X(KERNEL_FEATURE,    501, 3, "run `ckpt check` to see what this kernel lacks") \
	X(OPTION,            502, 3, "leave the option out") \
	X(RULE,              512, 1, "see --rule, --rules and --inherit-fd in ckpt-restore(1)") \
	X(NOT_A_FILE,        513, 1, "name a file that can be read") \
	X(NO_DESCRIPTORS,    505, 1, "raise the limit of open files (ulimit -n), or end programs that have many") \
	X(NO_MEMORY,         506, 1, "free memory, or raise what limits it (ulimit -v, vm.max_map_count)") \
	X(USAGE,             504, 2, "see ckpt help COMMAND, or its manual page") \
	X(COMMAND,           503, 3, "run `ckpt help` for the commands there are")

/* clang-format on */

enum ckpt_code {
	CKPT_E_NONE = 0,
#define X(name, number, status, remedy) CKPT_E_##name = number,
	CKPT_CODES(X)
#undef X
};
