// SPDX-License-Identifier: MIT
/*
 * dmabufx-fuzz: runs programs of system calls that nobody would write. Those that make the
 * kernel do something new are the base of further programs.
 *
 * Workers are processes. Each makes programs from its own random numbers and from the
 * corpus at the beginning of the round. Between rounds nothing runs, and nothing may be
 * left, see state.h. The programs since the last check are kept, and are written to a file
 * when the kernel reports anything or something is left. Such a file can be replayed and
 * minimised.
 */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../examples/number.h"
#include "../harness.h"
#include "../memory.h"
#include "../watch.h"
#include "cover.h"
#include "program.h"
#include "run.h"
#include "state.h"

#define MAX_WORKERS	8
#define MAX_LOG		4096	/* programs of a worker in a round */
#define MAX_FOUND	512	/* programs with something new in a worker's log */
#define MAX_CORPUS	(4 * MAX_LOG)
#define HANG_SECONDS	180	/* for one program; emulated machines are slow */

/**
 * struct worker - memory that a worker shares with its parent
 * @calls: number of calls made
 * @nr: programs in @log, the last of which may be running
 * @log: all programs of this round
 * @nr_found: programs in @found
 * @found: minimised programs with new signals
 * @signals: all signals that this worker knows
 */
struct worker {
	atomic_ulong calls;
	atomic_uint nr;
	struct program log[MAX_LOG];
	unsigned int nr_found;
	struct {
		struct program program;
		bool places;
	} found[MAX_FOUND];
	struct signals signals;
};

static struct {
	unsigned long seconds, seed, workers, programs, times;
	const char *out;
} options_of = {
	.seconds = 60,
	.seed = 1,
	.workers = 4,
	.programs = 500,
	.times = 3,
};

static struct worker *workers[MAX_WORKERS];
static struct program corpus[MAX_CORPUS];
static unsigned int nr_corpus;
static struct signals known;
static unsigned long total_calls, total_programs, reports, new_entries;
static int huge_memfd;
static bool have_kcov, places_only;
/* For --replay: the number of the file of each program. */
static __u8 file_of[MAX_CORPUS];
static volatile sig_atomic_t interrupted;

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "dmabufx-fuzz: %s:%d: ", file, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	putc('\n', stderr);
	fflush(stdout);
	_exit(2);
}

const char *errno_name(int error)
{
	const char *name = error ? strerrorname_np(error) : "success";

	return name ? name : "an unknown error";
}

/* Populates the memory at once, for state.c counts pages of shmem. */
static void *shared(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	check(at != MAP_FAILED);
	return at;
}

/* Clearing a 1 GiB page takes seconds, so all programs share one, if there is one. */
static int make_huge_memfd(void)
{
	int fd = memfd_create("1g", MFD_ALLOW_SEALING | MFD_CLOEXEC |
			      MFD_HUGETLB | MFD_HUGE_1GB);
	char *at;

	if (fd < 0 || ftruncate(fd, GIB(1)))
		return -1;
	at = mmap(NULL, GIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		close(fd);
		return -1;
	}
	*at = 1;
	must(munmap(at, GIB(1)));
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	return fd;
}

/* ---- In a worker. */

static void worker_begin(struct worker *w)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	memcpy(&w->signals, &known, sizeof(known));
	cover_collect_into(&w->signals);
	run_prepare(huge_memfd);
}

static void run_logged(struct worker *w, const struct program *p)
{
	unsigned int i = atomic_load(&w->nr);

	if (i < MAX_LOG) {
		w->log[i] = *p;
		atomic_store(&w->nr, i + 1);
	}
	atomic_fetch_add(&w->calls, run_program(p));
}

/* Removes calls that new signals do not need; keeps programs whose signals vary. */
static void minimise_found(struct worker *w, struct program *p,
			   const struct fresh *fresh)
{
	struct program shorter;
	unsigned int i = p->nr;

	run_logged(w, p);
	if (!cover_reached(fresh))
		return;
	while (i-- && p->nr > 1) {
		shorter = *p;
		program_remove(&shorter, i);
		run_logged(w, &shorter);
		if (cover_reached(fresh))
			*p = shorter;
	}
}

static struct fresh only_places(struct fresh fresh)
{
	unsigned int i, nr = 0;

	for (i = 0; i < fresh.nr; i++)
		if (fresh.signal[i] < MAX_TEXT)
			fresh.signal[nr++] = fresh.signal[i];
	fresh.nr = nr;
	return fresh;
}

static void run_and_keep(struct worker *w, const struct program *p)
{
	struct program kept = *p;
	struct fresh fresh;

	run_logged(w, p);
	fresh = cover_fresh();
	if (places_only)
		fresh = only_places(fresh);
	if (!fresh.nr || w->nr_found == MAX_FOUND)
		return;
	minimise_found(w, &kept, &fresh);
	w->found[w->nr_found].places = fresh.places;
	w->found[w->nr_found++].program = kept;
}

/* The work of worker @i in a round. */
typedef void (*work_fn)(struct worker *w, unsigned int i, unsigned long round);

static const struct program *any_of_corpus(struct rng *rng)
{
	return &corpus[rng_below(rng, nr_corpus)];
}

static void work_fuzz(struct worker *w, unsigned int i, unsigned long round)
{
	struct rng rng = rng_make(options_of.seed, round * MAX_WORKERS + i);
	struct program p;

	while (w->nr < options_of.programs) {
		if (!nr_corpus || !rng_below(&rng, 4)) {
			program_generate(&p, &rng);
		} else {
			/* Several programs meet the state that earlier ones left. */
			p = *any_of_corpus(&rng);
			while (rng_below(&rng, 6))
				program_join(&p, any_of_corpus(&rng));
			program_mutate(&p, any_of_corpus(&rng), &rng);
		}
		run_and_keep(w, &p);
	}
}

/* Each worker runs a part of the corpus. */
static void work_corpus(struct worker *w, unsigned int i, unsigned long unused)
{
	(void)unused;
	for (; i < nr_corpus; i += options_of.workers)
		run_logged(w, &corpus[i]);
}

/* Each worker replays one file. */
static void work_replay(struct worker *w, unsigned int i, unsigned long unused)
{
	(void)unused;
	for (unsigned int n = 0; n < nr_corpus; n++)
		if (file_of[n] == i)
			run_logged(w, &corpus[n]);
}

/* Keeps programs that together reach all places that the corpus reaches. */
static void work_distil(struct worker *w, unsigned int i, unsigned long unused)
{
	unsigned int n;

	(void)unused;
	for (n = 0; !i && n < nr_corpus; n++)
		run_and_keep(w, &corpus[n]);
}

/* ---- In the parent. */

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted = true;
}

static void write_log(const struct worker *w, FILE *to)
{
	unsigned int n;

	for (n = 0; n < w->nr; n++) {
		program_write(&w->log[n], to);
		putc('\n', to);
	}
}

/* Writes the programs since the last good check. */
static void save_round(const char *why)
{
	char path[512];
	unsigned int i;
	FILE *file;

	reports++;
	printf("REPORT: %s\n", why);
	if (!options_of.out)
		return;
	for (i = 0; i < options_of.workers; i++) {
		snprintf(path, sizeof(path), "%s/report-worker-%u",
			 options_of.out, i);
		file = fopen(path, "we");
		if (!file)
			fail("cannot write %s: %s", path, errno_name(errno));
		write_log(workers[i], file);
		fclose(file);
		printf("what ran is in %s\n", path);
	}
}

static void print_file(pid_t pid, const char *name)
{
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		printf("# %s", line);
	fclose(file);
}

/**
 * struct crew - the workers of a round
 * @pid: 0 for a worker that has ended
 * @nr: number of programs when its parent last saw progress
 * @since: time of that
 */
struct crew {
	pid_t pid[MAX_WORKERS];
	unsigned int nr[MAX_WORKERS];
	double since[MAX_WORKERS];
};

static const char *look_at_worker(struct crew *crew, unsigned int i)
{
	int status;

	if (!crew->pid[i])
		return NULL;
	if (waitpid(crew->pid[i], &status, WNOHANG) == crew->pid[i]) {
		crew->pid[i] = 0;
		return status ? "a worker died" : NULL;
	}
	if (crew->nr[i] != workers[i]->nr) {
		crew->nr[i] = workers[i]->nr;
		crew->since[i] = seconds_now();
	}
	if (seconds_now() - crew->since[i] < HANG_SECONDS)
		return NULL;
	print_file(crew->pid[i], "stack");
	print_file(crew->pid[i], "status");
	return "a program does not end";
}

static bool is_at_work(const struct crew *crew)
{
	unsigned int i;

	for (i = 0; i < options_of.workers; i++)
		if (crew->pid[i])
			return true;
	return false;
}

static void end_crew(struct crew *crew)
{
	unsigned int i;

	for (i = 0; i < options_of.workers; i++) {
		if (!crew->pid[i])
			continue;
		kill(-crew->pid[i], SIGKILL);
		waitpid(crew->pid[i], NULL, 0);
	}
}

/* Waits for all workers. Returns what is wrong, or NULL. */
static const char *watch_crew(struct crew *crew)
{
	const char *why = NULL;
	unsigned int i;

	while (!why && !interrupted && is_at_work(crew)) {
		usleep(100000);
		if (state_log_is_bad())
			why = "the kernel reported trouble";
		for (i = 0; !why && i < options_of.workers; i++)
			why = look_at_worker(crew, i);
	}
	end_crew(crew);
	return why;
}

static void keep(const struct program *p, bool places)
{
	char path[512];
	FILE *file;

	if (nr_corpus < MAX_CORPUS)
		corpus[nr_corpus++] = *p;
	if (!places)
		return;
	new_entries++;
	if (!options_of.out)
		return;
	snprintf(path, sizeof(path), "%s/corpus/%06lu", options_of.out,
		 new_entries);
	file = fopen(path, "we");
	if (!file)
		fail("cannot write %s: %s", path, errno_name(errno));
	program_write(p, file);
	fclose(file);
}

static void merge(const struct worker *w, bool keep_found)
{
	unsigned int i;

	total_calls += w->calls;
	total_programs += w->nr;
	for (i = 0; keep_found && i < w->nr_found; i++)
		keep(&w->found[i].program, w->found[i].places);
	for (i = 0; i < NR_SIGNALS; i++)
		known.seen[i] |= w->signals.seen[i];
}

/* Runs all workers. Returns what is wrong afterwards, or NULL. */
static const char *run_round(work_fn work, unsigned long round)
{
	struct crew crew = {};
	const char *why;
	unsigned int i;

	fflush(stdout);
	for (i = 0; i < options_of.workers; i++) {
		struct worker *w = workers[i];

		w->calls = 0;
		w->nr = 0;
		w->nr_found = 0;
		crew.since[i] = seconds_now();
		crew.pid[i] = must(fork());
		if (!crew.pid[i]) {
			worker_begin(w);
			work(w, i, round);
			_exit(0);
		}
		setpgid(crew.pid[i], crew.pid[i]);
	}
	why = watch_crew(&crew);
	if (!why && state_log_is_bad())
		why = "the kernel reported trouble";
	if (!why && state_is_bad())
		why = "something is left";
	return why;
}

/* The same, then saves results or reports. Returns whether all went well. */
static bool round_of(work_fn work, unsigned long round, bool keep_found)
{
	const char *why = run_round(work, round);
	unsigned int i;

	for (i = 0; i < options_of.workers; i++)
		merge(workers[i], keep_found);
	if (why)
		save_round(why);
	return !why;
}

static void read_programs(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned int line = 0;
	int got;

	if (!file)
		fail("cannot read %s: %s", path, errno_name(errno));
	while ((got = program_read(&corpus[nr_corpus], file, path, &line)) > 0)
		if (++nr_corpus == MAX_CORPUS)
			fail("%s: too many programs", path);
	fclose(file);
	if (got < 0)
		exit(2);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void read_corpus(const char *dir)
{
	struct dirent **entries;
	char path[512];
	int nr, i;

	nr = scandir(dir, &entries, is_visible, alphasort);
	if (nr < 0)
		fail("cannot read %s: %s", dir, errno_name(errno));
	for (i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		read_programs(path);
		free(entries[i]);
	}
	free(entries);
}

static void print_progress(double begun)
{
	static unsigned int last;
	unsigned int places = cover_places(&known);
	double seconds = seconds_now() - begun;

	printf("%6.0f s: %lu calls, %.0f a second, %lu programs, coverage %u (+%u), corpus %u\n",
	       seconds, total_calls, total_calls / seconds, total_programs,
	       places, places - last, nr_corpus);
	fflush(stdout);
	last = places;
}

static int conclude(void)
{
	if (!reports && state_conclusion_is_bad()) {
		reports++;
		printf("REPORT: the kernel's last word, above\n");
	}
	printf("%lu calls, %lu programs, coverage %u, %lu reports\n", total_calls,
	       total_programs, cover_places(&known), reports);
	return reports ? 1 : 0;
}

static int mode_fuzz(void)
{
	double begun = seconds_now(), printed = begun;
	unsigned long round = 0;
	bool good;

	printf("seed %lu, %lu workers, %s, %u programs in the corpus\n",
	       options_of.seed, options_of.workers,
	       have_kcov ? "guided by coverage" : "without coverage: this kernel has no KCOV",
	       nr_corpus);
	good = round_of(work_corpus, 0, false);
	print_progress(begun);
	while (good && !interrupted && seconds_now() - begun < options_of.seconds) {
		good = round_of(work_fuzz, round++, true);
		if (seconds_now() - printed >= 10) {
			print_progress(begun);
			printed = seconds_now();
		}
	}
	print_progress(begun);
	return conclude();
}

static int mode_replay(void)
{
	unsigned long i;

	for (i = 0; i < options_of.times && !interrupted; i++)
		if (!round_of(work_replay, 0, false))
			break;
	return conclude();
}

static int by_length(const void *a, const void *b)
{
	const struct program *p = a, *q = b;

	return (int)p->nr - (int)q->nr;
}

static int mode_distil(void)
{
	unsigned int had = nr_corpus;

	qsort(corpus, nr_corpus, sizeof(*corpus), by_length);
	places_only = true;
	options_of.workers = 1;
	round_of(work_distil, 0, true);
	printf("%lu of %u programs\n", new_entries, had);
	return conclude();
}

/* Whether the remaining programs still make the kernel report. */
static bool is_bad(void)
{
	unsigned long i;

	for (i = 0; i < options_of.times && !interrupted; i++) {
		state_init();
		if (run_round(work_corpus, 0))
			return true;
	}
	return false;
}

/* Drops @nr programs from @at on, unless they are needed for the report. */
static bool drop_programs(unsigned int at, unsigned int nr)
{
	struct program *dropped = malloc(nr * sizeof(*dropped));
	unsigned int rest = nr_corpus - at - nr;

	check(dropped);
	memcpy(dropped, corpus + at, nr * sizeof(*dropped));
	memmove(corpus + at, corpus + at + nr, rest * sizeof(*corpus));
	nr_corpus -= nr;
	if (!is_bad()) {
		memmove(corpus + at + nr, corpus + at, rest * sizeof(*corpus));
		memcpy(corpus + at, dropped, nr * sizeof(*dropped));
		nr_corpus += nr;
		nr = 0;
	}
	free(dropped);
	return nr;
}

static void minimise_programs(void)
{
	unsigned int chunk, at;

	for (chunk = nr_corpus / 2; chunk; chunk /= 2) {
		for (at = 0; at + chunk <= nr_corpus && !interrupted;)
			if (nr_corpus == chunk || !drop_programs(at, chunk))
				at += chunk;
		printf("%u programs\n", nr_corpus);
		fflush(stdout);
	}
}

static void minimise_calls(struct program *p)
{
	unsigned int i = p->nr;

	while (i-- && p->nr > 1 && !interrupted) {
		struct program whole = *p;

		program_remove(p, i);
		if (!is_bad())
			*p = whole;
	}
}

static int mode_minimise(void)
{
	unsigned int i;

	options_of.workers = 1;
	if (!is_bad()) {
		printf("it makes no trouble, in %lu tries\n", options_of.times);
		return 1;
	}
	minimise_programs();
	for (i = 0; i < nr_corpus; i++)
		minimise_calls(&corpus[i]);
	for (i = 0; i < nr_corpus; i++) {
		putchar('\n');
		program_write(&corpus[i], stdout);
	}
	return 0;
}

static void usage(FILE *to)
{
	fputs("Usage: dmabufx-fuzz [OPTION...]\n"
	      "       dmabufx-fuzz [OPTION...] --replay FILE...\n"
	      "       dmabufx-fuzz [OPTION...] --minimise FILE\n"
	      "       dmabufx-fuzz [OPTION...] --distil\n"
	      "Run sequences of system calls on /dev/dmabufx that nobody would write, guided by\n"
	      "KCOV where the kernel has it, and check that the kernel stays well.\n\n"
	      "  --corpus DIR    programs to begin with; may be repeated\n"
	      "  --out DIR       write new programs here (into DIR/corpus, which must exist),\n"
	      "                  and those that cause a report\n"
	      "  --seconds N     how long (default: 60)\n"
	      "  --seed N        seed of the random numbers (default: 1)\n"
	      "  --workers N     processes, 1 to 8 (default: 4)\n"
	      "  --programs N    programs of each between two checks, 1 to 4096 (default: 500)\n"
	      "  --replay        run the programs of each FILE again, the files side by side;\n"
	      "                  --times N: so often (default: 3)\n"
	      "  --minimise      find a small part of FILE that causes a report, too; each try\n"
	      "                  takes up to --times. Boot with kasan_multi_shot, or KASAN\n"
	      "                  reports only once\n"
	      "  --distil        write few programs that reach all that the corpus reaches\n"
	      "  --help          print this\n\n"
	      "Needs root, debugfs, and dmabufx.ko and dmabufx-importer.ko loaded. Meant for\n"
	      "a machine that may crash. The last line is \"N calls, N programs, coverage N, N\n"
	      "reports\"; coverage counts places in dmabufx. Exit status: 0 without reports, 1\n"
	      "with any, 2 when it could not run.\n", to);
}

static const struct option options[] = {
	{ "corpus", required_argument, NULL, 'c' },
	{ "out", required_argument, NULL, 'o' },
	{ "seconds", required_argument, NULL, 's' },
	{ "seed", required_argument, NULL, 'r' },
	{ "workers", required_argument, NULL, 'w' },
	{ "programs", required_argument, NULL, 'p' },
	{ "times", required_argument, NULL, 't' },
	{ "replay", no_argument, NULL, 'R' },
	{ "minimise", no_argument, NULL, 'M' },
	{ "distil", no_argument, NULL, 'D' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

/* Returns the mode: R, M, D, or 0 to fuzz. */
static int parse(int argc, char **argv)
{
	int option, mode = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			read_corpus(optarg);
			break;
		case 'o':
			options_of.out = optarg;
			break;
		case 's':
			options_of.seconds = parse_number(optarg, 0, 1000000000);
			break;
		case 'r':
			options_of.seed = parse_number(optarg, 0, -1ul);
			break;
		case 'w':
			options_of.workers = parse_number(optarg, 1, MAX_WORKERS);
			break;
		case 'p':
			options_of.programs = parse_number(optarg, 1, MAX_LOG);
			break;
		case 't':
			options_of.times = parse_number(optarg, 1, 1000000000);
			break;
		case 'R': case 'M': case 'D':
			mode = option;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	return mode;
}

/* Reads the FILEs of --replay and --minimise. */
static void read_files(int mode, int nr, char **files)
{
	unsigned int from;
	int i;

	if ((mode == 'R' && (nr < 1 || nr > MAX_WORKERS)) ||
	    (mode == 'M' && nr != 1) || (mode != 'R' && mode != 'M' && nr)) {
		usage(stderr);
		exit(2);
	}
	for (i = 0; i < nr; i++) {
		from = nr_corpus;
		read_programs(files[i]);
		memset(file_of + from, i, nr_corpus - from);
	}
	if (mode == 'R')
		options_of.workers = nr;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	unsigned int i;
	int mode;

	mode = parse(argc, argv);
	read_files(mode, argc - optind, argv + optind);
	for (i = 0; i < options_of.workers; i++)
		workers[i] = shared(sizeof(*workers[i]));

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	have_kcov = cover_init();
	huge_memfd = make_huge_memfd();
	state_init();
	switch (mode) {
	case 'R':
		return mode_replay();
	case 'M':
		return mode_minimise();
	case 'D':
		return mode_distil();
	default:
		return mode_fuzz();
	}
}
