/* Tests that work on files: each in a fresh folder of its own, removed afterwards. */
#ifndef RECPIPE_FOLDER_H
#define RECPIPE_FOLDER_H

#include <dirent.h>
#include <unistd.h>

#include "check.h"

static inline void enter_folder(void)
{
	char path[4096];
	const char *parent = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/recpipe.XXXXXX", parent ? parent : P_tmpdir);
	if (!mkdtemp(path) || chdir(path) != 0) {
		printf("Bail out! no folder to work in\n");
		exit(1);
	}
}

static inline void leave_folder(void)
{
	char path[4096];
	DIR *folder = opendir(".");
	for (const struct dirent *entry; folder && (entry = readdir(folder));)
		if (entry->d_name[0] != '.' || entry->d_name[1] != '\0')
			(void)remove(entry->d_name);
	if (folder)
		closedir(folder);
	if (getcwd(path, sizeof path) && chdir("/") == 0)
		(void)rmdir(path);
}

static inline size_t files_here(void)
{
	DIR *folder = opendir(".");
	size_t count = 0;
	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count - 2; /* . and .. */
}

static inline void put(const char *path, const void *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");
	CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static inline bool holds(const char *path, const char *text)
{
	char bytes[256] = "";
	FILE *file = fopen(path, "rb");
	size_t got = file ? fread(bytes, 1, sizeof bytes - 1, file) : 0;
	if (file)
		fclose(file);
	return file && got == strlen(text) && memcmp(bytes, text, got) == 0;
}

static inline void in_folder(const char *name, void (*test)(void))
{
	enter_folder();
	check_run(name, test);
	leave_folder();
}

#define RUN_IN_FOLDER(test) in_folder(#test, test)

#endif
