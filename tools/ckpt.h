/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of ckpt share: the table of options, one invocation, and
 * how its end is reported. Only main() prints an error.
 */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/problems.h"
#include "engine/base/text.h"
#include "injector/dump.h"
#include "injector/restore.h"

/* ---- commands ---- */
enum {
	CKPT_CMD_DUMP = 1 << 0,
	CKPT_CMD_RESTORE = 1 << 1,
	CKPT_CMD_CHECK = 1 << 2,
	CKPT_CMD_PLAN = 1 << 3,
	CKPT_CMD_SHOW = 1 << 4,
	CKPT_CMD_VERIFY = 1 << 5,
	CKPT_CMD_CONFIG = 1 << 23,
	CKPT_CMD_CORE = 1 << 24, /* what looks into an image */
	CKPT_CMD_MEM = 1 << 25,
	CKPT_CMD_X = 1 << 26,
	CKPT_CMD_DIFF = 1 << 27,
	CKPT_CMD_REPORT = 1 << 28,
	CKPT_CMD_PRE_DUMP = 1 << 14,
	CKPT_CMD_FLATTEN = 1 << 15,
	CKPT_CMD_MIGRATE = 1 << 16,
	CKPT_CMD_PAGE_SERVER = 1 << 17,
	CKPT_CMD_LAZY_PAGES = 1 << 18,
	CKPT_CMD_DEDUP = 1 << 22,
	CKPT_CMD_LOOK = CKPT_CMD_CORE | CKPT_CMD_MEM | CKPT_CMD_X | CKPT_CMD_DIFF | CKPT_CMD_REPORT,
	/* Where every option of CRIU is understood, with or without a meaning there. */
	CKPT_CMD_CRIU = CKPT_CMD_DUMP | CKPT_CMD_PRE_DUMP | CKPT_CMD_RESTORE | CKPT_CMD_CHECK |
			CKPT_CMD_PLAN | CKPT_CMD_PAGE_SERVER | CKPT_CMD_LAZY_PAGES,
	CKPT_CMD_IMAGE = CKPT_CMD_RESTORE | CKPT_CMD_PLAN | CKPT_CMD_SHOW | CKPT_CMD_VERIFY,
	CKPT_CMD_ALL = CKPT_CMD_DUMP | CKPT_CMD_MIGRATE | CKPT_CMD_PRE_DUMP | CKPT_CMD_FLATTEN |
		       CKPT_CMD_DEDUP | CKPT_CMD_CHECK | CKPT_CMD_IMAGE | CKPT_CMD_LOOK |
		       CKPT_CMD_PAGE_SERVER | CKPT_CMD_LAZY_PAGES,
};

struct ckpt_tool;

struct ckpt_command {
	const char *name;
	unsigned int bit;
	const char *usage; /* what follows the name */
	const char *summary;
	/* Returns an exit status, or a negative errno with t->err or t->problems. */
	int (*run)(struct ckpt_tool *t);
	unsigned int least_words, most_words; /* that follow the name */
	bool attended;                        /* it stops processes: ckpt_attend() */
};
extern const struct ckpt_command ckpt_commands[]; /* ends with a NULL name */

int ckpt_cmd_dump(struct ckpt_tool *t);
int ckpt_cmd_pre_dump(struct ckpt_tool *t);
int ckpt_cmd_migrate(struct ckpt_tool *t);
int ckpt_cmd_page_server(struct ckpt_tool *t);
int ckpt_cmd_lazy_pages(struct ckpt_tool *t);
int ckpt_cmd_flatten(struct ckpt_tool *t);
int ckpt_cmd_dedup(struct ckpt_tool *t);
int ckpt_cmd_restore(struct ckpt_tool *t);
int ckpt_cmd_check(struct ckpt_tool *t);
int ckpt_cmd_plan(struct ckpt_tool *t);
int ckpt_cmd_show(struct ckpt_tool *t);
int ckpt_cmd_verify(struct ckpt_tool *t);
int ckpt_cmd_config(struct ckpt_tool *t);
int ckpt_cmd_core(struct ckpt_tool *t);
int ckpt_cmd_mem(struct ckpt_tool *t);
int ckpt_cmd_x(struct ckpt_tool *t);
int ckpt_cmd_report(struct ckpt_tool *t);
int ckpt_cmd_diff(struct ckpt_tool *t);

/* ---- options ---- */
enum ckpt_option_type {
	CKPT_OPT_FLAG,   /* bool: --name, --no-name */
	CKPT_OPT_TEXT,   /* const char * */
	CKPT_OPT_PID,    /* pid_t */
	CKPT_OPT_NUMBER, /* unsigned int */
	CKPT_OPT_LEVEL,  /* int: -v, -vvv, -v4, --verbosity=4 */
	CKPT_OPT_LIST,   /* struct ckpt_option_list: may be given several times */
	CKPT_OPT_SIZE,   /* digits and K, M or G */
	CKPT_OPT_CHOICE, /* one of VALUE, separated by | */
	CKPT_OPT_METHOD, /* of compression, lz4 if none is said; it may stand apart */
};

enum ckpt_option_fate {
	CKPT_WORKS,
	CKPT_HARMLESS, /* accepted: it changes nothing here, TEXT says why */
	CKPT_NOTED,    /* the same, but TEXT is told to the user */
	CKPT_REFUSED,  /* TEXT says what cannot be done */
};

struct ckpt_option {
	const char *name;
	char letter; /* 0: none */
	enum ckpt_option_type type;
	bool optional; /* the value, if any, is attached: --name=VALUE, -xVALUE */
	bool ours;     /* not an option of CRIU: only understood IN its commands */
	enum ckpt_option_fate fate;
	unsigned int in;   /* CKPT_WORKS: commands for which it has a meaning */
	size_t at;         /* CKPT_WORKS: where in struct ckpt_options */
	const char *value; /* its name in the help, NULL: none */
	const char *text;
};
extern const struct ckpt_option ckpt_option_table[]; /* ends with a NULL name */
#define CKPT_MAX_OPTIONS 192
#define CKPT_MAX_WORDS 4

#define CKPT_MAX_LIST 256
struct ckpt_option_list {
	const char *v[CKPT_MAX_LIST];
	unsigned int n;
};

#define CKPT_NOT_GIVEN UINT_MAX /* a number */

struct ckpt_options {
	struct ckpt_option_list rule, rules, external, inherit_fd;
	const struct ckpt_command *command; /* NULL: none was given, HELP or VERSION is set */
	const char *topic;                  /* `ckpt help TOPIC` that is no command */
	bool help, version;
	pid_t tree;
	pid_t pid;
	const char *images_dir;
	const char *work_dir; /* NULL: the images folder */
	const char *log_file;
	const char *pidfile;
	const char *feature;
	struct ckpt_compression compress;
	const char *clock;                 /* NULL: auto */
	const char *lazy;                  /* NULL: not; "map", else it is served */
	int verbosity;                     /* -1: not given */
	const char *words[CKPT_MAX_WORDS]; /* what followed the name of the command */
	unsigned int n_words;
	const char *output;
	const char *search, *hex, *regex, *area, *debug_dir;
	bool view_tree, view_files, view_memory, view_sockets, view_stats;
	bool raw, stacks, env, args;
	uint64_t ghost_limit;
	bool link_remap, file_list, live, packages;
	const char *file_validation, *carry, *files, *grown, *on_files; /* NULL: not given */
	const char *prev_images_dir;
	bool track_mem, auto_dedup, give_up_parents;
	const char *via, *remote_ckpt, *remote_options; /* of a migration; NULL: not given */
	bool handover, page_server, lazy_pages;
	const char *address;
	unsigned int port, ps_socket, status_fd; /* the latter two: or CKPT_NOT_GIVEN */
	unsigned int timeout, max_freeze, track_timeout;
	const char *max_freeze_action;
	bool leave_running, leave_stopped, shell_job, file_locks, detached, sibling, display_stats,
		json;
	bool tcp_close, skip_in_flight;
	const char *config;
	bool no_default_config;
	bool seen[CKPT_MAX_OPTIONS];          /* by index in the table */
	const char *given[CKPT_MAX_OPTIONS];  /* the same: its value as it was written, */
	const char *origin[CKPT_MAX_OPTIONS]; /* and where: "FILE:LINE", "command line"; or NULL */
	struct ckpt_config_text *config_texts;
};

/* Usage errors have no code of the catalogue (exit status 2); a refused one has CKPT_E_OPTION. */
int ckpt_options_parse(struct ckpt_options *o, int argc, char **argv, struct ckpt_err *err);
/* What holds where nothing is given. */
void ckpt_options_init(struct ckpt_options *o);
/* One option, "--name=value", that was found at ORIGIN in a configuration file; NULL: on a command
 * line. Both are kept. */
int ckpt_options_apply(struct ckpt_options *o, const char *arg, const char *origin,
		       struct ckpt_err *err);
/* All files that are to be read: CONFIG is that of --config, or NULL. PROGRAM: argv[0]. */
int ckpt_config_read(struct ckpt_options *o, const char *program, const char *config,
		     bool no_default, struct ckpt_err *err);

void ckpt_help_general(void);
void ckpt_help_command(const struct ckpt_command *cmd);
/* Every option of CRIU and what becomes of it: "--name VALUE", a tab, the fate, a tab, why. */
void ckpt_help_options(void);

/* ---- one invocation ---- */
struct ckpt_tool {
	const char *name; /* in front of failures; NULL: ckpt */
	struct ckpt_options opts;
	struct ckpt_arena *arena;
	struct ckpt_log log;
	struct ckpt_rules rules;
	int dirfd;            /* images folder, -1: not opened */
	bool made_dir;        /* by this dump */
	int logfd;            /* what the log owns, -1: nothing */
	struct ckpt_bar *bar; /* NULL: none was begun */
	struct ckpt_problems problems;
	struct ckpt_err err;
};

/* What --clock says. */
enum ckpt_clock_choice ckpt_tool_clock(const struct ckpt_tool *t);
/* Opens the folder of images (made first if MAKE), the log in the work folder. */
int ckpt_tool_open(struct ckpt_tool *t, bool make);
/* Opens the folder opts.images_dir, for commands that are told it as a word. */
int ckpt_tool_images(struct ckpt_tool *t);
/* Opens the image to be looked into, WITH it does its work, closes it. */
struct ckpt_look;
int ckpt_tool_look(struct ckpt_tool *t, int (*with)(struct ckpt_tool *t, struct ckpt_look *look));
/* Reads --rule and its like. */
int ckpt_tool_rules(struct ckpt_tool *t);
/* Closes both; FAILED: a folder that was made goes again, unless it holds the log. */
void ckpt_tool_close(struct ckpt_tool *t, bool failed);
/* PATH within the work folder; absolute ones stay as they are. */
const char *ckpt_work_path(struct ckpt_tool *t, const char *path);

/* What the options say about a dump into t->dirfd. */
struct ckpt_dump_opts ckpt_tool_dump_opts(struct ckpt_tool *t);
/* Makes it and reports it; WHERE as in ckpt_report_dump(). */
int ckpt_tool_dump(struct ckpt_tool *t, const struct ckpt_dump_opts *opts, const char *doing,
		   const char *where);
/* Frees in the images before the one in t->dirfd what it overrides. */
int ckpt_tool_dedup(struct ckpt_tool *t);
/* What the options say about files. */
struct ckpt_file_policy ckpt_tool_file_policy(const struct ckpt_options *o);
/* Goes on in a child that takes all back and ends when this process is killed; passes on to it what
 * asks for the end, and ends as it does: returns in the child alone, or with an error. Then what
 * ckpt_tool_open() opened is closed, and a folder that was made goes if the child has failed; if
 * this process is killed it stays. */
int ckpt_attend(struct ckpt_tool *t);
void ckpt_tool_file_list(struct ckpt_tool *t, const struct ckpt_snapshot *snap);
int ckpt_tool_restore_opts(struct ckpt_tool *t, struct ckpt_restore_opts *opts);

/* ---- reports ---- */
/* "2.1 ms" */
const char *ckpt_human_time(char buf[24], uint64_t ns);
/* WHERE it moved to; NULL: it was dumped. */
void ckpt_report_dump(const struct ckpt_tool *t, const struct ckpt_dump_stats *st,
		      const char *where);
void ckpt_report_restore(const struct ckpt_tool *t, const struct ckpt_restore_stats *st);
/* "note: TEXT" for each, on stderr. */
void ckpt_report_notes(const char *const *note, size_t n);
/* Every problem, or the one error, on stderr. Returns the exit status. */
int ckpt_report_failure(const struct ckpt_tool *t);
/* On FD, with control characters replaced: names out of images and of /proc go to terminals. */
void ckpt_print(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How far it is with what begins now and works with t->arena: a line on a terminal, if it takes
 * longer. VERB lives for ever. */
void ckpt_bar_begin(struct ckpt_tool *t, const char *verb);
/* The line goes away: before anything else is said. Again, or without a beginning, is fine. */
void ckpt_bar_end(struct ckpt_tool *t);

/* ---- features of this machine ---- */
struct ckpt_feature_site {
	pid_t child; /* sleeps; stopped once ptrace was tried */
	int pidfd;   /* of it */
	int eventfd; /* a descriptor that it shares */
	bool stopped;
	char detail[96]; /* filled by a probe: said after the name */
};

struct ckpt_feature {
	const char *name;
	bool needed;                               /* without it neither dump nor restore work */
	int (*probe)(struct ckpt_feature_site *s); /* by trying: 0 or a negative errno */
	const char *cost;                          /* what one loses without it */
};
/* Both end with a NULL name. */
extern const struct ckpt_feature ckpt_features_target[], ckpt_features_own[];
