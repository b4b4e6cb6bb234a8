/* Keeps beside a process what a power cut would leave of its files: a file's content as it was at its last fsync or
 * fdatasync, a directory's entries as they were at its last fsync. Loaded with LD_PRELOAD.
 *
 * SYNCED_ROOTS (directories, separated by colons) is what is kept, without the paths of SYNCED_ELSEWHERE, and
 * SYNCED_SHADOW an empty directory to keep it in:
 *   dirs/roots   one line for each root: its key and its path
 *   dirs/KEY     "f|d KEY MODE NAME" for each entry, each ended by a NUL
 *   files/KEY    content
 * A key is an inode with its time of birth, because a file system gives a number again. What is there when the process
 * starts counts as synced. Programs that it starts are not followed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY 64

#define MOST 8

static char *roots[MOST], *elsewhere[MOST];
static int root_count, elsewhere_count;
static char shadow[PATH_MAX];
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static void give_up(const char *what) {
  perror(what);
  _exit(99);
}

static int is_below(char **directories, int count, const char *path) {
  for (int one = 0; one < count; one++) {
    size_t length = strlen(directories[one]);
    if (strncmp(path, directories[one], length) == 0 && (path[length] == '/' || path[length] == 0)) return 1;
  }
  return 0;
}

static mode_t look(int directory, const char *name, char *key) {
  struct statx found;
  int flags = AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH);
  if (statx(directory, name, flags, STATX_BASIC_STATS | STATX_BTIME, &found) != 0) return 0;
  snprintf(key, KEY, "%llu-%lld.%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec,
           found.stx_btime.tv_nsec);
  return found.stx_mode;
}

static void place(char *path, const char *kind, const char *key, const char *end) {
  if (snprintf(path, PATH_MAX, "%s/%s/%s%s", shadow, kind, key, end) >= PATH_MAX) give_up("SYNCED_SHADOW is too long");
}

static void keep_file(int source, const char *key) {
  char whole[PATH_MAX], part[PATH_MAX];
  place(whole, "files", key, "");
  place(part, "files", key, ".part");
  int target = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (target < 0) give_up(part);
  off_t at = 0;
  ssize_t sent;
  while ((sent = sendfile(target, source, &at, 1 << 26)) > 0) {
  }
  if (sent < 0 || close(target) != 0 || rename(part, whole) != 0) give_up(whole);
}

static void keep_directory(int directory, const char *key, const char *path, int deep) {
  char whole[PATH_MAX], part[PATH_MAX], below[PATH_MAX];
  place(whole, "dirs", key, "");
  place(part, "dirs", key, ".part");
  FILE *list = fopen(part, "we");
  DIR *entries = fdopendir(directory);
  if (list == NULL || entries == NULL) give_up(part);
  struct dirent *entry;
  while ((entry = readdir(entries)) != NULL) {
    char own[KEY];
    mode_t mode;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if ((mode = look(directory, entry->d_name, own)) == 0) continue; /* it went away while we looked */
    if (!S_ISDIR(mode) && !S_ISREG(mode)) continue;
    if (snprintf(below, PATH_MAX, "%s/%s", path, entry->d_name) >= PATH_MAX) give_up("a path is too long");
    if (is_below(elsewhere, elsewhere_count, below)) continue;
    fprintf(list, "%c %s %o %s%c", S_ISDIR(mode) ? 'd' : 'f', own, mode & 07777, entry->d_name, 0);
    if (!deep) continue;
    int inside = openat(directory, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (inside < 0) continue;
    if (S_ISDIR(mode)) {
      keep_directory(inside, own, below, deep);
    } else {
      keep_file(inside, own);
      close(inside);
    }
  }
  closedir(entries);
  if (fclose(list) != 0 || rename(part, whole) != 0) give_up(whole);
}

static void keep(int descriptor) {
  char link[64], path[PATH_MAX], key[KEY];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return;
  path[length] = 0;
  mode_t mode = look(descriptor, "", key);
  if (!is_below(roots, root_count, path) || is_below(elsewhere, elsewhere_count, path)) return;
  if (!S_ISDIR(mode) && !S_ISREG(mode)) return;
  int again = open(link, O_RDONLY | O_CLOEXEC);
  if (again < 0) give_up(path);
  pthread_mutex_lock(&keeping);
  if (S_ISDIR(mode)) {
    keep_directory(again, key, path, 0);
  } else {
    keep_file(again, key);
    close(again);
  }
  pthread_mutex_unlock(&keeping);
}

static int split(char *words, char **into) {
  int count = 0;
  for (char *rest = strdup(words), *word; (word = strsep(&rest, ":")) != NULL && count < MOST;) into[count++] = word;
  return count;
}

__attribute__((constructor)) static void begin(void) {
  char path[PATH_MAX], key[KEY], *wanted[MOST];
  char *rest = getenv("SYNCED_ROOTS"), *others = getenv("SYNCED_ELSEWHERE"), *where = getenv("SYNCED_SHADOW");
  if (rest == NULL || others == NULL || where == NULL) return;
  unsetenv("LD_PRELOAD");
  if (strlen(where) >= sizeof shadow) give_up("SYNCED_SHADOW is too long");
  strcpy(shadow, where);
  elsewhere_count = split(others, elsewhere);
  int count = split(rest, wanted);
  place(path, "dirs", "roots", "");
  FILE *list = fopen(path, "we");
  if (list == NULL) give_up(path);
  for (int one = 0; one < count; one++) {
    int directory = open(wanted[one], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || look(directory, "", key) == 0) give_up(wanted[one]);
    fprintf(list, "%s %s\n", key, wanted[one]);
    keep_directory(directory, key, wanted[one], 1);
    roots[root_count++] = wanted[one];
  }
  if (fclose(list) != 0) give_up(path);
}

int fsync(int descriptor) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  int failed = real(descriptor);
  if (!failed && root_count) keep(descriptor);
  return failed;
}

int fdatasync(int descriptor) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  int failed = real(descriptor);
  if (!failed && root_count) keep(descriptor);
  return failed;
}
