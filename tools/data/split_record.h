// Which picture is in which split: drawn from what the picture holds, and kept with the run.
//
// RUN/split.tsv has a line per picture: split (train, validation, test or unused), class, size in
// bytes, hash, name relative to the data folder, time of the file's last change in nanoseconds.
// Tabs, line ends and backslashes in names are \t, \n, \r and \\. Nothing else decides where a
// picture belongs once it is recorded: it may be renamed, moved or joined by others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/data/layout.h"

namespace tapescope {

// What a picture is known by, whatever it is called.
struct PictureContent {
  std::uint64_t hash = 0;  // of the file's bytes; of the pixels for a picture of an IDX file
  std::int64_t bytes = 0;  // that were hashed, or the file's size
  std::int64_t time = 0;   // of the file's last change, in nanoseconds; 0: none
};

// FNV-1a of 64 bits, begun with the size.
std::uint64_t content_hash(std::span<const std::uint8_t> bytes, std::int64_t size);
// Of files that are too many to be read beforehand: of their first kHeadBytes and their size.
inline constexpr std::size_t kHeadBytes = std::size_t{1} << 14;

struct RecordedPicture {
  Part part = Part::train;
  std::string label;  // its class
  PictureContent content;
  std::string name;  // relative to the data folder
};

struct SplitRecord {
  std::vector<RecordedPicture> pictures;  // in the order in which they were trained on
  bool heads = false;                     // hashes are of files' heads

  std::string text() const;
  // Throws a usage error naming the line that cannot be read.
  static SplitRecord read(const std::filesystem::path& path);
};

// A picture of the data as it is now.
struct FoundPicture {
  std::string_view label;
  PictureContent content;
  std::string name;
  unsigned parts = 0;  // where its folder lets it be, a bit 1 << Part each: train, or a draw of it
};

// What became of recorded pictures.
struct SplitComparison {
  static constexpr std::int64_t kNew = -1, kCopy = -2;
  // By found picture: its line in the record, kNew, or kCopy: there are more of it than recorded.
  std::vector<std::int64_t> lines;
  std::vector<std::int64_t> gone;  // lines that were not found
  // Sentences, none where nothing changed but names: added, removed, edited, labelled otherwise,
  // copied or lying in another split's folder, each counted and with an example.
  std::vector<std::string> changes;
};
// By content: names decide between equal ones only.
SplitComparison compare(const SplitRecord& record, std::span<const FoundPicture> found);

// A number in [0, 1) that depends on these three and nothing else.
double draw_of(std::uint64_t hash, std::uint64_t seed, std::string_view purpose);

// Of `hashes` with their `labels`, which are chosen: those whose draw_of is below `fraction`. A
// class of two or more contents has at least one chosen and one not, the lowest and the highest.
std::vector<bool> drawn_by_content(std::span<const std::uint64_t> hashes,
                                   std::span<const std::int64_t> labels, double fraction,
                                   std::uint64_t seed, std::string_view purpose);
// The same, of every class its exact share (rounded; one of two or more, never all): the lowest.
std::vector<bool> share_by_content(std::span<const std::uint64_t> hashes,
                                   std::span<const std::int64_t> labels, double share,
                                   std::uint64_t seed, std::string_view purpose);

}  // namespace tapescope
