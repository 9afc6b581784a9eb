/* A disk that fails as it is told, for the process that this is loaded into (LD_PRELOAD): only files
   whose path holds the name of the store are touched.

   RINGFENCE_TEST_SYNC_FAILS=N   the N-th wait for the disk, from 1, fails with EIO; later ones succeed
   RINGFENCE_TEST_FULL=PATH      while there is a file at PATH, nothing more fits onto the disk
   RINGFENCE_TEST_NAME=NAME      the name of the store's file
   RINGFENCE_TEST_STALL=PATH     while there is a file at PATH, a wait for the disk does not end
   RINGFENCE_TEST_LOG=PATH       what is done to files is written there, in order (power.rs reads it), and
                                 what the process says to its standard output, as it is written
   RINGFENCE_TEST_FOLDER=PATH    the folder whose files are meant, and itself */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_store(int fd) {
  const char *name = getenv("RINGFENCE_TEST_NAME");
  char link[64], path[4096];
  if (!name) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, name) != NULL;
}

static int is_full(int fd) {
  const char *full = getenv("RINGFENCE_TEST_FULL");
  return full && access(full, F_OK) == 0 && is_store(fd);
}

static int sync_fails(int fd) {
  static int count;
  const char *fails = getenv("RINGFENCE_TEST_SYNC_FAILS");
  return fails && is_store(fd) && __sync_add_and_fetch(&count, 1) == atoi(fails);
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE(code) do { errno = code; return -1; } while (0)

/* One act: its letter, what it is done to, a second path or the bytes, and where. */
static void record(char act, const char *path, const void *data, uint64_t count, uint64_t at) {
  static int log = -1;
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  const char *to = getenv("RINGFENCE_TEST_LOG");
  struct { char act; char pad[3]; uint32_t path; uint64_t at, count; } head = {act};
  if (!to) return;
  head.path = strlen(path);
  head.at = at;
  head.count = count;
  struct iovec parts[] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)data, count}};
  pthread_mutex_lock(&lock);
  if (log < 0) log = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (syscall(SYS_writev, log, parts, 3) != (ssize_t)(sizeof head + head.path + count)) abort();
  pthread_mutex_unlock(&lock);
}

static int is_meant(const char *path) {
  const char *folder = getenv("RINGFENCE_TEST_FOLDER");
  return folder && strncmp(path, folder, strlen(folder)) == 0;
}

/* The path of an open file that is meant. */
static int meant(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, 4095);
  if (length < 0) return 0;
  path[length] = 0;
  return is_meant(path) && !strstr(path, " (deleted)");
}

static void wrote(int fd, const void *data, ssize_t count, off_t at) {
  char path[4096];
  if (!getenv("RINGFENCE_TEST_LOG") || count <= 0) return;
  if (fd == 1) record('A', "", data, count, 0);
  else if (meant(fd, path)) record('W', path, data, count, at);
}

static void synced(int fd) {
  char path[4096];
  if (getenv("RINGFENCE_TEST_LOG") && meant(fd, path)) record('S', path, "", 0, 0);
}

static void stall(int fd) {
  const char *path = getenv("RINGFENCE_TEST_STALL");
  while (path && access(path, F_OK) == 0 && is_store(fd)) poll(NULL, 0, 1);
}

static int sync_with(int fd, int (*real)(int)) {
  if (sync_fails(fd)) REFUSE(EIO);
  stall(fd);
  int done = real(fd);
  if (done == 0) synced(fd);
  return done;
}

int fsync(int fd) { return sync_with(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_with(fd, REAL(fdatasync)); }

ssize_t write(int fd, const void *data, size_t count) {
  if (is_full(fd)) REFUSE(ENOSPC);
  off_t at = fd == 1 ? 0 : lseek(fd, 0, SEEK_CUR);
  ssize_t done = REAL(write)(fd, data, count);
  wrote(fd, data, done, at);
  return done;
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
  if (is_full(fd)) REFUSE(ENOSPC);
  ssize_t done = REAL(pwrite)(fd, data, count, at);
  wrote(fd, data, done, at);
  return done;
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
  if (is_full(fd)) REFUSE(ENOSPC);
  ssize_t done = REAL(pwrite64)(fd, data, count, at);
  wrote(fd, data, done, at);
  return done;
}

static int truncated(int fd, int done, off_t at) {
  char path[4096];
  if (done == 0 && meant(fd, path)) record('T', path, "", 0, at);
  return done;
}
int ftruncate(int fd, off_t at) { return truncated(fd, REAL(ftruncate)(fd, at), at); }
int ftruncate64(int fd, off64_t at) { return truncated(fd, REAL(ftruncate64)(fd, at), at); }

static int opened(int fd, const char *path, int flags, int was_there) {
  if (fd >= 0 && is_meant(path)) {
    if (!was_there && (flags & O_CREAT)) record('C', path, "", 0, 0);
    else if (flags & O_TRUNC) record('T', path, "", 0, 0);
  }
  return fd;
}
#define OPEN(name)                                                                       \
  int name(const char *path, int flags, ...) {                                           \
    va_list rest;                                                                        \
    va_start(rest, flags);                                                               \
    mode_t mode = va_arg(rest, mode_t);                                                  \
    va_end(rest);                                                                        \
    int was_there = access(path, F_OK) == 0;                                             \
    return opened(REAL(name)(path, flags, mode), path, flags, was_there);                \
  }
OPEN(open)
OPEN(open64)

int unlink(const char *path) {
  int done = REAL(unlink)(path);
  if (done == 0 && is_meant(path)) record('U', path, "", 0, 0);
  return done;
}
static int moved(char act, int done, const char *from, const char *to) {
  if (done == 0 && is_meant(to)) record(act, from, to, strlen(to), 0);
  return done;
}
int rename(const char *from, const char *to) {
  return moved('R', REAL(rename)(from, to), from, to);
}
int link(const char *from, const char *to) { return moved('L', REAL(link)(from, to), from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
  return moved('L', REAL(linkat)(a, from, b, to, flags), from, to);
}
