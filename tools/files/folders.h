// What lies in folders that people named: no call here throws but with a sentence, whatever a name
// is and whatever a link leads to.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace tapescope {

// A regular file or a folder, through links; false for what is not there, cannot be looked at, has
// too long a name or is a link to itself.
bool is_file(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);

// Its name ends with `ending` (".xml"), in upper or lower case.
bool has_ending(const std::filesystem::path& path, std::string_view ending);

// What lies in a folder, sorted, without hidden entries (a Mac's "._a.jpg" among them). Throws a
// usage error that names a folder which cannot be listed; nothing lies in what is no folder.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);
std::vector<std::filesystem::path> folders_in(const std::filesystem::path& folder);
// Those with an ending, regular or not: what is none is an error when it is read.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder,
                                            std::string_view ending);
// Regular files in a folder and all that is below it, sorted by path; links to folders are not
// followed, so that no ring of them is walked for ever.
std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder);

// Throws a usage error where `path` is a link to a folder that it lies in itself: whoever follows
// it sees the same files again and again, and of two such links never comes to an end.
void expect_no_ring(const std::filesystem::path& path);

// folder/name, or what lies there under the same name with other capitals if that is one thing
// only; empty where there is none. `name` may have several parts.
std::filesystem::path child_of(const std::filesystem::path& folder,
                               const std::filesystem::path& name);

// Makes the folder of --out, or one in it; a usage error where it cannot be made.
void make_output_folder(const std::filesystem::path& folder);

}  // namespace tapescope
