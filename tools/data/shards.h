// Data in shards: tar files in WebDataset's layout, as webdataset, img2dataset and timm write them.
//
// A sample is what has the same key, the name up to the first dot behind the last slash:
// `cat/7.jpg` and `cat/7.cls`. Its picture is the member whose ending is a picture's, its class the
// text of
// `.cls` (or `.class`), a number or a name, else "label", "class" or "cls" of `.json`. Other
// members, hidden ones and `__...__` are passed over. classnames.txt or classes.txt beside the
// shards gives the names of numbers, a line a class; without it the numbers are the names.
//
// The samples' order is that of the tar files by name and within each; a shard is read at the
// place of a picture, in any order. `tapescope shard` (shard_writer.h) writes such shards.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/data/dataset.h"
#include "tools/files/file_stamp.h"

namespace tapescope {

struct ShardSet {
  std::filesystem::path root;  // holds the tar files, or the folders of splits that do
  std::vector<std::pair<Part, std::vector<std::filesystem::path>>> parts;  // each sorted
};

// Nothing where `path` is something else: it must be a tar file; a pattern, "a/{000..012}.tar"; or
// a folder of tar files without pictures or class folders, flat or in folders named after splits
// (layout.h), or with names that tell splits ("train-000.tar"). Without these all are in train, of
// which fractions are drawn. Throws a usage error for a pattern whose files are not there.
std::optional<ShardSet> find_shards(const std::filesystem::path& path);

// What the names of data's pictures are beneath: the folder, or the one that a tar file or a
// pattern of them lies in.
std::filesystem::path root_of(const std::filesystem::path& data);
// The file that a picture of this name is in: "0.tar" of "0.tar/cat/7.jpg", else the name itself.
std::string file_of(const std::string& name);

// Fills in what the shards hold. Throws usage errors as open_data does; a sample without a label or
// a picture, one key twice, a number without a name and a shard that is cut off are bad pictures
// (options.on_bad_image).
void open_shards(const ShardSet& shards, const DataOptions& options, DataSplits& splits);

// A sample as a shard has it.
struct ShardSample {
  std::string name;  // of its picture's member
  std::int64_t offset = 0, bytes = 0;
  std::string label;  // a number or a name
  std::string flaw;   // "has a picture and no label ...": why it cannot be used; else empty
};
struct ShardIndex {
  FileStamp stamp;  // of the tar file before it was read
  std::vector<ShardSample> samples;
  std::string broken;            // as TarIndex has it
  std::int64_t passed_over = 0;  // members that are of no sample
  std::string passed_over_example;
};
ShardIndex index_of(const std::filesystem::path& tar);

}  // namespace tapescope
