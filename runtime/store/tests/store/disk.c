/* A disk that fails as it is told, for the process that this is loaded into (LD_PRELOAD): only files
   whose path holds the name of the store are touched.

   RINGFENCE_TEST_SYNC_FAILS=N   the N-th wait for the disk, from 1, fails with EIO; later ones succeed
   RINGFENCE_TEST_FULL=PATH      while there is a file at PATH, nothing more fits onto the disk
   RINGFENCE_TEST_NAME=NAME      the name of the store's file */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
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

int fsync(int fd) { if (sync_fails(fd)) REFUSE(EIO); return REAL(fsync)(fd); }
int fdatasync(int fd) { if (sync_fails(fd)) REFUSE(EIO); return REAL(fdatasync)(fd); }

ssize_t write(int fd, const void *data, size_t count) {
  if (is_full(fd)) REFUSE(ENOSPC);
  return REAL(write)(fd, data, count);
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
  if (is_full(fd)) REFUSE(ENOSPC);
  return REAL(pwrite)(fd, data, count, at);
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
  if (is_full(fd)) REFUSE(ENOSPC);
  return REAL(pwrite64)(fd, data, count, at);
}
