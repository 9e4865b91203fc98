// Pictures as users name them, and what cannot be read of them while the rest goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace tapescope {

// Each name that is a folder becomes all the pictures below it, sorted; hidden files, such as the
// ._* of a Mac's archives, are passed over, others that are no pictures are counted on stderr.
// Other names stay as they are. Throws a usage error for a folder without pictures, and for one
// that cannot be read.
std::vector<std::string> picture_files(const std::vector<std::string>& names);

// On stderr, in a line: how many of these pictures hold 12 of 16 bits (odd_pictures.h). What cannot
// be read is told where it is.
void tell_dark(const std::vector<std::string>& pictures);

// `stem`, or stem-2, stem-3, ... where it was used: pictures of one name from several folders must
// not overwrite each other's files.
std::string unused_stem(const std::string& stem, std::set<std::string>& used);

// One bad picture among many never costs the others' answers: it is told on stderr (the first few;
// the rest are counted at the end), and the exit status says so.
class BadPictures {
 public:
  // Whether `read` threw a usage error, which is then told; anything else is thrown on.
  bool skipped(const std::function<void()>& read);
  void add(const std::string& what);
  // What the last one was refused for: the "error" of its JSON.
  const std::string& last() const { return last_; }
  std::int64_t count() const { return count_; }
  // 2 where one of `all` could not be read, else 0; says how many where not all were told.
  int status(std::size_t all) const;

 private:
  std::int64_t count_ = 0;
  std::string last_;
};

}  // namespace tapescope
