/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every option of every command, and every option that CRIU has: what works,
 * what is accepted because it changes nothing here, what is refused. The help,
 * the parser and a test read it; the manual pages are compared with it.
 */
#include "tools/ckpt.h"

/* A row a line where it fits. */
/* clang-format off */
#define AT(field) .at = offsetof(struct ckpt_options, field)
#define DUMP (CKPT_CMD_DUMP | CKPT_CMD_MIGRATE)
#define ONLY_DUMP CKPT_CMD_DUMP
#define MIGRATE CKPT_CMD_MIGRATE
#define PRE_DUMP CKPT_CMD_PRE_DUMP
#define RESTORE CKPT_CMD_RESTORE
#define CHECK CKPT_CMD_CHECK
#define PLAN CKPT_CMD_PLAN
#define SHOW CKPT_CMD_SHOW
#define VERIFY CKPT_CMD_VERIFY
#define CORE CKPT_CMD_CORE
#define MEM CKPT_CMD_MEM
#define X CKPT_CMD_X
#define REPORT CKPT_CMD_REPORT
#define DIFF CKPT_CMD_DIFF
#define FLATTEN CKPT_CMD_FLATTEN
#define SERVER CKPT_CMD_PAGE_SERVER
#define DEDUP CKPT_CMD_DEDUP
#define LAZY CKPT_CMD_LAZY_PAGES
#define OUR_VALUE(n, l, f, commands, v, t) \
	{ .name = n, .letter = l, .type = CKPT_OPT_TEXT, .ours = true, .in = commands, AT(f), .value = v, .text = t }
#define OUR_FLAG(n, f, commands, t) \
	{ .name = n, .type = CKPT_OPT_FLAG, .ours = true, .in = commands, AT(f), .text = t }
#define FLAG(n, l, f, commands, t) \
	{ .name = n, .letter = l, .type = CKPT_OPT_FLAG, .in = commands, AT(f), .text = t }
#define VALUE(n, l, ty, f, commands, v, t) \
	{ .name = n, .letter = l, .type = ty, .in = commands, AT(f), .value = v, .text = t }
#define OURS(n, ty, f, commands, v, t) \
	{ .name = n, .type = ty, .ours = true, .in = commands, AT(f), .value = v, .text = t }
#define QUIET(n, l, ty, v, t) \
	{ .name = n, .letter = l, .type = ty, .fate = CKPT_HARMLESS, .value = v, .text = t }
#define NOT(n, l, ty, v, t) \
	{ .name = n, .letter = l, .type = ty, .fate = CKPT_REFUSED, .value = v, .text = t }

const struct ckpt_option ckpt_option_table[] = {
	/* ---- what works ---- */
	VALUE("tree", 't', CKPT_OPT_PID, tree, ONLY_DUMP | PRE_DUMP | CHECK, "PID", "root of the process tree"),
	VALUE("images-dir", 'D', CKPT_OPT_TEXT, images_dir, CKPT_CMD_ALL & ~(CHECK | X | DIFF | MIGRATE), "DIR",
	      "folder of the image (default: the current one); -: a stream, out of dump and into others"),
	VALUE("work-dir", 'W', CKPT_OPT_TEXT, work_dir, DUMP | PRE_DUMP | RESTORE | SERVER | LAZY, "DIR",
	      "folder of the log and the pidfile (default: that of the image)"),
	VALUE("log-file", 'o', CKPT_OPT_TEXT, log_file, DUMP | PRE_DUMP | RESTORE | CHECK | PLAN | SERVER | LAZY, "FILE",
	      "write the log to FILE in the work folder; -: to standard output"),
	{ .name = "verbosity", .letter = 'v', .type = CKPT_OPT_LEVEL, .optional = true, .in = DUMP | PRE_DUMP | RESTORE | CHECK | PLAN | SERVER | LAZY,
	  AT(verbosity), .value = "N",
	  .text = "log 0 nothing, 1 warnings, 2 notes, 3 steps, 4 detail; also -vvv; plan: print the programs too" },
	FLAG("leave-running", 'R', leave_running, ONLY_DUMP, "let the tree go on after the dump (default: end it)"),
	FLAG("leave-stopped", 's', leave_stopped, ONLY_DUMP | RESTORE, "leave the tree stopped, as by SIGSTOP"),
	FLAG("shell-job", 'j', shell_job, DUMP | RESTORE | CHECK | PLAN,
	     "the tree belongs to a shell: its session and terminal are ours at restore"),
	FLAG("file-locks", 'l', file_locks, DUMP | RESTORE | CHECK,
	     "dump file locks and leases too (default: refuse them); a restore always takes again what the image has"),
	VALUE("external", 0, CKPT_OPT_LIST, external, DUMP | CHECK, "KEY",
	      "leave the open file KEY out of the image: `pipe:[ino]`, `socket:[ino]`, `unix[ino]`, `tty[rdev:dev]`, `file[mnt:ino]` or a path"),
	VALUE("inherit-fd", 0, CKPT_OPT_LIST, inherit_fd, RESTORE | PLAN, "fd[N]:KEY",
	      "descriptor N of ckpt takes the place of the open file KEY"),
	{ .name = "rule", .type = CKPT_OPT_LIST, .ours = true, .in = DUMP | CHECK | RESTORE | PLAN, AT(rule), .value = "SELECTOR=ACTION",
	  .text = "what becomes of open files: fd:N, path:P, drop, close, reconnect, fail; by a path, kind:, process:, fd:, id:" },
	{ .name = "rules", .type = CKPT_OPT_LIST, .ours = true, .in = DUMP | CHECK | RESTORE | PLAN, AT(rules), .value = "FILE",
	  .text = "rules, one a line" },
	FLAG("tcp-close", 0, tcp_close, DUMP | CHECK, "TCP connections may be lost: they come back closed by their peer"),
	FLAG("skip-in-flight", 0, skip_in_flight, DUMP | CHECK, "connections that nobody has accepted yet may be lost, likewise"),
	VALUE("timeout", 0, CKPT_OPT_NUMBER, timeout, DUMP | PRE_DUMP | CHECK, "SECONDS",
	      "give up when the dump takes longer (default 10; 0: never)"),
	OUR_FLAG("live", live, ONLY_DUMP, "copy memory while the tree runs, and stop it for what changed meanwhile"),
	{ .name = "max-freeze", .type = CKPT_OPT_NUMBER, .ours = true, .in = DUMP, AT(max_freeze), .value = "MS",
	  .text = "do not let the tree stand still for longer; memory is copied live" },
	{ .name = "max-freeze-action", .type = CKPT_OPT_CHOICE, .ours = true, .in = ONLY_DUMP, AT(max_freeze_action), .value = "fail|copy",
	  .text = "if that cannot be kept, or nothing is said: fail (the default), or let processes go on while copies of them are written (with -R)" },
	{ .name = "compress", .letter = 'c', .type = CKPT_OPT_METHOD, .optional = true, .in = DUMP, AT(compress),
	  .value = "METHOD", .text = "compress the memory: lz4 (if none is said), zstd or zstd:LEVEL, none" },
	VALUE("prev-images-dir", 0, CKPT_OPT_TEXT, prev_images_dir, ONLY_DUMP | PRE_DUMP | SERVER, "DIR",
	      "write only what changed since the image in DIR, as seen from the new one's folder; DIR stays needed"),
	FLAG("track-mem", 0, track_mem, ONLY_DUMP | PRE_DUMP,
	     "track what is written from now on, for a later --prev-images-dir (pre-dump: always)"),
	FLAG("auto-dedup", 0, auto_dedup, ONLY_DUMP | PRE_DUMP | RESTORE,
	     "free in the images before this one what it overrides, as ckpt dedup does (restore: not; said in a note)"),
	OUR_FLAG("give-up-parents", give_up_parents, DEDUP, "also in dumps, which cannot be restored by themselves any more"),
	{ .name = "track-timeout", .type = CKPT_OPT_NUMBER, .ours = true, .in = ONLY_DUMP | PRE_DUMP, AT(track_timeout), .value = "SECONDS",
	  .text = "stop tracking when no dump comes for so long (default 3600; 0: never)" },
	FLAG("page-server", 0, page_server, ONLY_DUMP | PRE_DUMP | LAZY, "send the memory to the page server at --address and --port, or bring it from there"),
	FLAG("lazy-pages", 0, lazy_pages, ONLY_DUMP | RESTORE,
	     "dump: the memory is sent later, to the `ckpt lazy-pages` that asks for it; restore: that one brings it"),
	VALUE("address", 0, CKPT_OPT_TEXT, address, ONLY_DUMP | PRE_DUMP | SERVER | LAZY, "ADDRESS",
	      "of the page server: a name, a number, or the path of a Unix socket (default: this machine)"),
	VALUE("port", 0, CKPT_OPT_NUMBER, port, ONLY_DUMP | PRE_DUMP | SERVER | LAZY, "PORT", "its TCP port (who listens: 0, the default, is any)"),
	VALUE("ps-socket", 0, CKPT_OPT_NUMBER, ps_socket, ONLY_DUMP | PRE_DUMP | SERVER | LAZY, "FD", "descriptor FD of ckpt is connected to it already"),
	VALUE("status-fd", 0, CKPT_OPT_NUMBER, status_fd, ONLY_DUMP | SERVER | LAZY, "FD", "write a byte, zero, to FD when it listens"),
	FLAG("daemon", 'd', detached, SERVER | LAZY, "go on in the background when it listens"),
	OUR_VALUE("via", 0, via, MIGRATE, "COMMAND", "reach the other side by this, which is given a command line of a shell, instead of ssh"),
	OUR_VALUE("remote-ckpt", 0, remote_ckpt, MIGRATE, "COMMAND", "what ckpt is called there (default: ckpt)"),
	OUR_VALUE("remote-options", 0, remote_options, MIGRATE, "OPTIONS", "options of the restore there, one text"),
	OUR_FLAG("handover", handover, RESTORE, "ask the sender of the stream before it runs, and answer (what migrate calls)"),
	FLAG("restore-detached", 'd', detached, RESTORE, "return as soon as the tree runs"),
	{ .name = "lazy", .type = CKPT_OPT_CHOICE, .optional = true, .ours = true, .in = RESTORE | PLAN, AT(lazy),
	  .value = "serve|map",
	  .text = "start at once, memory comes later: from a process of ckpt (the default; root), or mapped from the image" },
	FLAG("restore-sibling", 'S', sibling, RESTORE, "make the root a child of the caller of ckpt (with -d)"),
	{ .name = "clock", .type = CKPT_OPT_CHOICE, .ours = true, .in = RESTORE | PLAN, AT(clock),
	  .value = "auto|continue|host",
	  .text = "CLOCK_MONOTONIC and CLOCK_BOOTTIME: go on from where they were, or are this machine's (default auto: go on where they would go back)" },
	VALUE("pidfile", 0, CKPT_OPT_TEXT, pidfile, RESTORE | SERVER | LAZY, "FILE",
	      "write the pid of the root, or of the service, to FILE, which must not exist"),
	FLAG("display-stats", 0, display_stats, DUMP | PRE_DUMP | RESTORE, "print numbers at the end, one a line"),
	OUR_FLAG("json", json, SHOW | DIFF, "print JSON"),
	{ .name = "pid", .letter = 'p', .type = CKPT_OPT_PID, .ours = true, .in = SHOW | CORE | MEM, AT(pid), .value = "PID",
	  .text = "only that process" },
	OUR_VALUE("output", 'o', output, CORE | MEM | X | REPORT | FLATTEN, "FILE", "write to FILE, which must not exist (flatten: a folder without an image)"),
	OUR_VALUE("search", 0, search, MEM, "TEXT", "where this text is in memory"),
	OUR_VALUE("hex", 0, hex, MEM, "BYTES", "where these bytes are, two hexadecimal digits each"),
	OUR_VALUE("regex", 0, regex, MEM, "REGEX", "where this Perl-compatible expression matches"),
	OUR_VALUE("area", 0, area, MEM, "NAME", "search only areas of that name or file; alone: print it"),
	OUR_FLAG("env", env, MEM, "the environment, as the process was started with it"),
	OUR_FLAG("args", args, MEM, "the command line"),
	OUR_FLAG("tree", view_tree, SHOW, "the processes, as a tree"),
	OUR_FLAG("files", view_files, SHOW, "what is open, and what of it is in the image"),
	OUR_FLAG("memory", view_memory, SHOW, "the map: what of each area is in the image, which file it is of"),
	OUR_FLAG("sockets", view_sockets, SHOW, "sockets: names, peers, queues"),
	OUR_FLAG("stats", view_stats, SHOW, "sizes by sort of memory and by kind"),
	OUR_FLAG("raw", raw, SHOW, "every record"),
	OUR_FLAG("stacks", stacks, SHOW, "a back-trace of every thread"),
	OUR_VALUE("debug-dir", 0, debug_dir, SHOW | REPORT, "DIR", "separate debug files by build-id are in DIR/.build-id (default /usr/lib/debug)"),
	VALUE("ghost-limit", 0, CKPT_OPT_SIZE, ghost_limit, DUMP | CHECK, "SIZE",
	      "refuse deleted files that are larger: 300, 10k, 20M, 1G (default: any size is carried)"),
	FLAG("link-remap", 0, link_remap, DUMP | CHECK,
	     "give a file that has lost the names known here another one, in the same folder (default: yes)"),
	VALUE("file-validation", 0, CKPT_OPT_CHOICE, file_validation, DUMP | RESTORE | PLAN | SHOW, "filesize|buildid|hash|none",
	      "what files are compared by (default: build-id of code, size, and hash where there is one)"),
	OURS("carry", CKPT_OPT_CHOICE, carry, DUMP, "none|mapped|all|written",
	     "files that the image holds as well: code, all, what is open for writing (default: none)"),
	OUR_FLAG("packages", packages, ONLY_DUMP,
		 "keep which package each mapped program and library is of, as dpkg or rpm tell, for what a restore says"),
	OURS("files", CKPT_OPT_CHOICE, files, RESTORE | PLAN, "keep|rollback",
	     "carried files that were written to since: a problem (default), or put back"),
	OURS("grown", CKPT_OPT_CHOICE, grown, RESTORE | PLAN, "truncate|append|fail",
	     "logs that have become longer: cut, gone on with at their end, a problem (default)"),
	OURS("on-files", CKPT_OPT_TEXT, on_files, PLAN, "FILE",
	     "answer for the machine where `ckpt show --file-list` wrote FILE"),
	{ .name = "file-list", .type = CKPT_OPT_FLAG, .ours = true, .in = SHOW, AT(file_list),
	  .text = "what this machine has at the paths of the image, for `ckpt plan --on-files`" },
	VALUE("feature", 0, CKPT_OPT_TEXT, feature, CHECK, "NAME", "probe only that feature"),
	VALUE("config", 0, CKPT_OPT_TEXT, config, CKPT_CMD_ALL, "FILE", "read options from FILE, after the default ones"),
	FLAG("no-default-config", 0, no_default_config, CKPT_CMD_ALL, "read no configuration file that is not named here"),
	FLAG("help", 'h', help, CKPT_CMD_ALL, "say how to use the command"),
	FLAG("version", 'V', version, CKPT_CMD_ALL, "print the version"),

	/* ---- what changes nothing here ---- */
	QUIET("tcp-established", 0, CKPT_OPT_FLAG, NULL, "a TCP connection is refused by name all the same; see --tcp-close"),
	QUIET("network-lock", 0, CKPT_OPT_CHOICE, "iptables|nftables|skip", "no TCP connection is dumped: nothing to lock"),
	{ .name = "ext-unix-sk", .letter = 'x', .type = CKPT_OPT_TEXT, .optional = true,
	  .fate = CKPT_HARMLESS,
	  .value = "INODES", .text = "a datagram socket is connected again to a named peer outside of the tree all the same; a stream is refused by name: see --rule" },
	QUIET("ghost-fiemap", 0, CKPT_OPT_FLAG, NULL, "holes are never stored"),
	QUIET("evasive-devices", 0, CKPT_OPT_FLAG, NULL, "devices are opened by their path"),
	QUIET("force-irmap", 0, CKPT_OPT_FLAG, NULL, "paths that are watched are found by themselves"),
	QUIET("irmap-scan-path", 0, CKPT_OPT_TEXT, "PATH", "paths that are watched are found by themselves"),
	QUIET("skip-file-rwx-check", 0, CKPT_OPT_FLAG, NULL, "the mode of files is not compared"),
	QUIET("cpu-cap", 0, CKPT_OPT_TEXT, "LIST", "what the programs use of the processor is always checked"),
	QUIET("weak-sysctls", 0, CKPT_OPT_FLAG, NULL, "no sysctl is restored"),
	QUIET("allow-uprobes", 0, CKPT_OPT_FLAG, NULL, "an area of uprobes is refused by name all the same"),
	QUIET("pre-dump-mode", 0, CKPT_OPT_CHOICE, "splice|read", "memory is always read from outside"),
	QUIET("skip-mnt", 0, CKPT_OPT_TEXT, "PATH", "no mount namespace is dumped"),
	QUIET("enable-fs", 0, CKPT_OPT_TEXT, "LIST", "no mount namespace is dumped"),
	QUIET("enable-external-sharing", 0, CKPT_OPT_FLAG, NULL, "no mount namespace is dumped"),
	QUIET("enable-external-masters", 0, CKPT_OPT_FLAG, NULL, "no mount namespace is dumped"),
	QUIET("mntns-compat-mode", 0, CKPT_OPT_FLAG, NULL, "no mount namespace is dumped"),
	QUIET("compress-region", 0, CKPT_OPT_SIZE, "SIZE", "what is compressed at once is 1 MiB"),
	QUIET("compress-acceleration", 0, CKPT_OPT_NUMBER, "N", "it is part of the method: --compress=lz4:N"),
	QUIET("decompress-threads", 0, CKPT_OPT_NUMBER, "N", "there are as many as processors"),
	QUIET("unprivileged", 0, CKPT_OPT_FLAG, NULL, "no privilege is asked for but where it is needed"),
	QUIET("log-pid", 0, CKPT_OPT_FLAG, NULL, "all of an operation is in one log"),
	QUIET("close", 0, CKPT_OPT_NUMBER, "FD", "restored processes inherit no descriptor of the caller"),
	QUIET("deprecated", 0, CKPT_OPT_FLAG, NULL, "nothing is deprecated"),
	QUIET("extra", 0, CKPT_OPT_FLAG, NULL, "check always probes everything"),
	QUIET("experimental", 0, CKPT_OPT_FLAG, NULL, "check always probes everything"),
	QUIET("all", 0, CKPT_OPT_FLAG, NULL, "check always probes everything"),
	{ .name = "manage-cgroups", .type = CKPT_OPT_CHOICE, .optional = true, .fate = CKPT_NOTED,
	  .value = "none|props|soft|full|strict|ignore",
	  .text = "cgroups are not managed; a restored tree stays in the cgroup of ckpt" },

	/* ---- what is refused ---- */
	NOT("tls", 0, CKPT_OPT_FLAG, NULL, "cannot encrypt: take a port of ssh (-L) to the page server"),
	NOT("tls-cacert", 0, CKPT_OPT_TEXT, "FILE", "cannot encrypt: take a port of ssh (-L) to the page server"),
	NOT("tls-cacrl", 0, CKPT_OPT_TEXT, "FILE", "cannot encrypt: take a port of ssh (-L) to the page server"),
	NOT("tls-cert", 0, CKPT_OPT_TEXT, "FILE", "cannot encrypt: take a port of ssh (-L) to the page server"),
	NOT("tls-key", 0, CKPT_OPT_TEXT, "FILE", "cannot encrypt: take a port of ssh (-L) to the page server"),
	NOT("tls-no-cn-verify", 0, CKPT_OPT_FLAG, NULL, "cannot encrypt: take a port of ssh (-L) to the page server"),
	NOT("stream", 0, CKPT_OPT_FLAG, NULL, "cannot send to an image streamer: -D - is a stream, of itself"),
	NOT("action-script", 0, CKPT_OPT_TEXT, "FILE", "cannot run scripts: run them before and after ckpt"),
	NOT("exec-cmd", 0, CKPT_OPT_FLAG, NULL, "cannot become another program: use --restore-sibling"),
	NOT("join-ns", 'J', CKPT_OPT_TEXT, "NS:WHERE", "cannot join a namespace: run ckpt inside of it, with nsenter"),
	NOT("empty-ns", 0, CKPT_OPT_TEXT, "NS", "cannot make that namespace: run ckpt under unshare"),
	NOT("root", 'r', CKPT_OPT_TEXT, "PATH", "cannot change the root: run ckpt under chroot"),
	NOT("ext-mount-map", 'M', CKPT_OPT_TEXT, "KEY:PATH", "cannot map mounts: restore into a prepared mount namespace"),
	NOT("veth-pair", 0, CKPT_OPT_TEXT, "IN=OUT", "cannot make network devices"),
	NOT("cgroup-root", 0, CKPT_OPT_TEXT, "PATH", "cannot move to a cgroup: start ckpt in it"),
	NOT("cgroup-yard", 0, CKPT_OPT_TEXT, "PATH", "cannot manage cgroups"),
	NOT("cgroup-props", 0, CKPT_OPT_TEXT, "TEXT", "cannot manage cgroups"),
	NOT("cgroup-props-file", 0, CKPT_OPT_TEXT, "FILE", "cannot manage cgroups"),
	NOT("cgroup-dump-controller", 0, CKPT_OPT_TEXT, "NAME", "cannot manage cgroups"),
	NOT("freeze-cgroup", 0, CKPT_OPT_TEXT, "PATH", "cannot freeze by a cgroup: the tree is stopped process by process"),
	NOT("lsm-profile", 0, CKPT_OPT_TEXT, "TYPE:NAME", "cannot set a security label: start ckpt with it"),
	NOT("lsm-mount-context", 0, CKPT_OPT_TEXT, "CONTEXT", "cannot set a security label of mounts"),
	NOT("libdir", 'L', CKPT_OPT_TEXT, "DIR", "cannot load plugins"),
	NOT("orphan-pts-master", 0, CKPT_OPT_FLAG, NULL, "cannot hand over a terminal: use --shell-job"),
	{ .name = NULL },
};
/* clang-format on */
_Static_assert(sizeof(ckpt_option_table) / sizeof(ckpt_option_table[0]) <= CKPT_MAX_OPTIONS,
	       "seen[] is too short");
