/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckpt: a table of commands. main() reads the command line, opens the folder,
 * runs the command and says in one place how it ended. Nothing is probed here:
 * a small dump takes a few milliseconds in all.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "config.h"
#include "tools/ckpt.h"

#define RESERVE (64ull << 30) /* of address space, for what an operation needs at most */

const struct ckpt_command ckpt_commands[] = {
	{ "dump", CKPT_CMD_DUMP, "-t PID [-D DIR] [OPTIONS]",
	  "freeze a process tree and write its image", ckpt_cmd_dump, .attended = true },
	{ "pre-dump", CKPT_CMD_PRE_DUMP, "-t PID [-D DIR] [--prev-images-dir DIR]",
	  "write memory while the tree runs, for a dump that goes on from it", ckpt_cmd_pre_dump,
	  .attended = true },
	{ "migrate", CKPT_CMD_MIGRATE, "PID [USER@]HOST | PID --via COMMAND [OPTIONS]",
	  "move a running tree to another machine", ckpt_cmd_migrate, 1, 2, .attended = true },
	{ "page-server", CKPT_CMD_PAGE_SERVER, "[-D DIR] [--address ADDR] [--port N] [-d]",
	  "take the memory of a dump on another machine", ckpt_cmd_page_server },
	{ "lazy-pages", CKPT_CMD_LAZY_PAGES,
	  "[-D DIR] [-W DIR] [--page-server --address ADDR --port N] [-d]",
	  "bring memory to a `restore --lazy-pages`, from where it was dumped",
	  ckpt_cmd_lazy_pages },
	{ "restore", CKPT_CMD_RESTORE, "[-D DIR] [OPTIONS]",
	  "bring a process tree back from its image", ckpt_cmd_restore },
	{ "check", CKPT_CMD_CHECK, "[-t PID]",
	  "say what this machine can do, or whether a tree can be dumped", ckpt_cmd_check,
	  .attended = true },
	{ "plan", CKPT_CMD_PLAN, "[-D DIR]", "print what a restore would do here, and do nothing",
	  ckpt_cmd_plan },
	{ "show", CKPT_CMD_SHOW, "[-D DIR] [-p PID] [--stacks | --memory | ...] [--json]",
	  "print what is in an image", ckpt_cmd_show },
	{ "core", CKPT_CMD_CORE, "[-D DIR] [-p PID] [-o FILE]",
	  "write core files, for a debugger, of the processes in an image", ckpt_cmd_core },
	{ "mem", CKPT_CMD_MEM, "[-D DIR] -p PID ADDR LEN | --search TEXT | --env | ...",
	  "print or search the memory of a process in an image", ckpt_cmd_mem, 0, 2 },
	{ "x", CKPT_CMD_X, "DIR fd:PID:NUMBER | object:ID", "write out what a descriptor held",
	  ckpt_cmd_x, 2, 2 },
	{ "diff", CKPT_CMD_DIFF, "DIR1 DIR2 [--json]", "what changed between two images",
	  ckpt_cmd_diff, 2, 2 },
	{ "report", CKPT_CMD_REPORT, "[-D DIR] -o FILE.html",
	  "write a page that shows an image, for a browser", ckpt_cmd_report },
	{ "verify", CKPT_CMD_VERIFY, "[-D DIR]",
	  "compare every byte of an image with its checksums", ckpt_cmd_verify },
	{ "flatten", CKPT_CMD_FLATTEN, "[-D DIR] -o OUT",
	  "make one complete image of several that go on from each other", ckpt_cmd_flatten },
	{ "dedup", CKPT_CMD_DEDUP, "[-D DIR] [OTHER...]",
	  "free in the images before one what it overrides", ckpt_cmd_dedup, 0, CKPT_MAX_WORDS },
	{ "config", CKPT_CMD_CONFIG, "[--config FILE]",
	  "print every option, its value and where that comes from", ckpt_cmd_config },
	{ NULL },
};

/* A file of ours at number 0, 1 or 2 would get what is meant for the terminal. What is closed stays
 * as useless as it was: an image must not vanish in it. */
static void occupy_standard_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

static void note_options(const struct ckpt_options *o)
{
	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++)
		if (p->fate == CKPT_NOTED && o->seen[p - ckpt_option_table])
			ckpt_print(STDERR_FILENO, "note: --%s: %s\n", p->name, p->text);
}

static void help(const struct ckpt_options *o)
{
	if (o->topic)
		ckpt_help_options();
	else if (o->command)
		ckpt_help_command(o->command);
	else
		ckpt_help_general();
}

/* Folder, log and rules: but not to show what would be used. */
static int prepare(struct ckpt_tool *t)
{
	unsigned int command = t->opts.command->bit;
	int r;

	if (command == CKPT_CMD_CONFIG)
		return 0;
	/* A file that gets too large is an error of write(2). Dumps see to that themselves, and
	 * what a restore starts would inherit it. */
	if (command & (CKPT_CMD_LOOK | CKPT_CMD_FLATTEN | CKPT_CMD_DEDUP | CKPT_CMD_PAGE_SERVER))
		signal(SIGXFSZ, SIG_IGN);
	r = ckpt_tool_open(t, command & (CKPT_CMD_DUMP | CKPT_CMD_PRE_DUMP | CKPT_CMD_PAGE_SERVER));
	return r < 0 ? r : ckpt_tool_rules(t);
}

static int run(struct ckpt_tool *t)
{
	int r = ckpt_arena_open(&t->arena, RESERVE, &t->err);

	if (r < 0)
		return r;
	t->problems.arena = t->arena;
	r = prepare(t);
	if (r >= 0 && t->opts.command->attended)
		r = ckpt_attend(t);
	if (r >= 0)
		r = t->opts.command->run(t);
	ckpt_tool_close(t, r < 0);
	return r;
}

/* What is printed is all that these do; what others print tells what they have done already. */
static int check_output(struct ckpt_tool *t)
{
	const unsigned int prints = CKPT_CMD_CHECK | CKPT_CMD_PLAN | CKPT_CMD_SHOW |
				    CKPT_CMD_VERIFY | CKPT_CMD_CONFIG | CKPT_CMD_MEM | CKPT_CMD_X |
				    CKPT_CMD_DIFF;
	const struct ckpt_options *o = &t->opts;

	errno = 0;
	if ((fflush(stdout) == 0 && !ferror(stdout)) ||
	    !(o->help || o->version || o->command->bit & prints))
		return 0;
	if (!errno && write(STDOUT_FILENO, "\n", 1) == 1) /* why it was, before, it says again */
		errno = EIO;
	return ckpt_refuse(&t->err, CKPT_E_STANDARD_OUTPUT, -errno,
			   "standard output: cannot write: %s", strerrordesc_np(errno));
}

int main(int argc, char **argv)
{
	static struct ckpt_tool t = { .dirfd = -1, .logfd = -1, .err = CKPT_ERR_INIT };
	int r;

	occupy_standard_fds();
	/* A heap of its own for each thread would have it wait for others to touch their memory. */
	mallopt(M_ARENA_MAX, 1);
	r = ckpt_options_parse(&t.opts, argc, argv, &t.err);
	if (r < 0) {
		int status = ckpt_report_failure(&t);

		return t.err.number ? status : 2;
	}
	if (t.opts.help) {
		help(&t.opts);
	} else if (t.opts.version) {
		printf("ckpt %s\n", PACKAGE_VERSION);
	} else {
		note_options(&t.opts);
		r = run(&t);
	}
	if (r >= 0 && check_output(&t) < 0)
		r = t.err.code;
	if (r < 0)
		r = ckpt_report_failure(&t);
	if (t.arena)
		ckpt_arena_close(t.arena);
	return r;
}
