#include "tools/data/split_record.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "engine/error.h"
#include "engine/hash.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

constexpr std::string_view kHead = "head:";

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '\\':
        out += "\\\\";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    out += c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
  }
  return out;
}

template <class Number>
bool parse(std::string_view text, Number& value, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_line(std::string_view line, RecordedPicture& picture, bool& head) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find('\t', begin), line.size());
    fields.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  if (fields.size() != 6) return false;
  bool known = false;
  for (const Part part : {Part::train, Part::validation, Part::test, Part::unused}) {
    if (fields[0] != name_of(part)) continue;
    picture.part = part;
    known = true;
  }
  head = fields[3].starts_with(kHead);
  if (head) fields[3].remove_prefix(kHead.size());
  picture.label = unescaped(fields[1]);
  picture.name = unescaped(fields[4]);
  return known && parse(fields[2], picture.content.bytes, 10) &&
         parse(fields[3], picture.content.hash, 16) && parse(fields[5], picture.content.time, 10);
}

// "3 pictures were added (the first: cats/7.jpg)".
class Counted {
 public:
  void add(const std::string& example) {
    if (count_++ == 0) example_ = example;
  }
  void tell(std::string_view what, std::vector<std::string>& sentences) const {
    if (count_ == 0) return;
    sentences.push_back(fmt::format("{} picture{} {} ({}{})", count_, plural(count_), what,
                                    count_ == 1 ? "" : "the first: ", printable(example_)));
  }

 private:
  std::int64_t count_ = 0;
  std::string example_;
};

}  // namespace

std::uint64_t content_hash(std::span<const std::uint8_t> bytes, std::int64_t size) {
  return stable_hash({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                     mix(0xcbf29ce484222325ull, static_cast<std::uint64_t>(size)));
}

std::string SplitRecord::text() const {
  std::string text;
  for (const RecordedPicture& p : pictures) {
    text += fmt::format("{}\t{}\t{}\t{}{:016x}\t{}\t{}\n", name_of(p.part), escaped(p.label),
                        p.content.bytes, heads ? kHead : "", p.content.hash, escaped(p.name),
                        p.content.time);
  }
  return text;
}

SplitRecord SplitRecord::read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw usage_error("'{}' cannot be opened; check its permissions", path.string());
  SplitRecord record;
  std::string line;
  while (std::getline(file, line)) {
    RecordedPicture picture;
    bool head = false;
    if (file.eof() || !parse_line(line, picture, head) ||
        (!record.pictures.empty() && head != record.heads)) {
      throw usage_error(
          "'{}' is damaged in line {}: a line is split, class, size, hash, name and time; bring "
          "back the file as the training wrote it",
          path.string(), record.pictures.size() + 1);
    }
    record.heads = head;
    record.pictures.push_back(std::move(picture));
  }
  return record;
}

namespace {

// By found picture: its line, kNew or kCopy. Equal pictures keep their own lines: by name first,
// then by class, then in order. `taken` gets the lines that were found.
std::vector<std::int64_t> matched(const SplitRecord& record, std::span<const FoundPicture> found,
                                  std::vector<bool>& taken) {
  std::unordered_map<std::uint64_t, std::vector<std::int64_t>> by_hash;
  for (std::size_t i = 0; i < record.pictures.size(); ++i) {
    by_hash[record.pictures[i].content.hash].push_back(static_cast<std::int64_t>(i));
  }
  std::vector<std::int64_t> lines(found.size(), SplitComparison::kNew);
  for (const int pass : {0, 1, 2}) {
    for (std::size_t f = 0; f < found.size(); ++f) {
      if (lines[f] >= 0) continue;
      const auto same = by_hash.find(found[f].content.hash);
      if (same == by_hash.end()) continue;
      lines[f] = SplitComparison::kCopy;
      for (const std::int64_t i : same->second) {
        const RecordedPicture& line = record.pictures[static_cast<std::size_t>(i)];
        const bool fits = pass == 0   ? line.name == found[f].name
                          : pass == 1 ? line.label == found[f].label
                                      : true;
        if (taken[static_cast<std::size_t>(i)] || !fits) continue;
        taken[static_cast<std::size_t>(i)] = true;
        lines[f] = i;
        break;
      }
    }
  }
  return lines;
}

}  // namespace

SplitComparison compare(const SplitRecord& record, std::span<const FoundPicture> found) {
  SplitComparison result;
  std::vector<bool> taken(record.pictures.size(), false);
  result.lines = matched(record, found, taken);
  std::unordered_map<std::string_view, std::int64_t> by_name;
  for (std::size_t i = 0; i < record.pictures.size(); ++i) {
    by_name.emplace(record.pictures[i].name, static_cast<std::int64_t>(i));
  }
  Counted added, edited, relabelled, copied, moved, removed;
  std::unordered_set<std::int64_t> replaced;  // lines whose file holds something else now
  for (std::size_t f = 0; f < found.size(); ++f) {
    const FoundPicture& p = found[f];
    if (result.lines[f] == SplitComparison::kCopy) {
      copied.add(p.name);
    } else if (result.lines[f] == SplitComparison::kNew) {
      const auto named = by_name.find(p.name);
      if (named != by_name.end() && !taken[static_cast<std::size_t>(named->second)]) {
        replaced.insert(named->second);
        edited.add(p.name);
      } else {
        added.add(p.name);
      }
    } else {
      const RecordedPicture& was = record.pictures[static_cast<std::size_t>(result.lines[f])];
      if (was.label != p.label) {
        relabelled.add(fmt::format("{}: {}, was {}", p.name, p.label, was.label));
      }
      if (was.part != Part::unused && (p.parts >> static_cast<unsigned>(was.part) & 1u) == 0) {
        moved.add(fmt::format("{}, was {}", p.name, name_of(was.part)));
      }
    }
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    if (taken[i]) continue;
    result.gone.push_back(static_cast<std::int64_t>(i));
    if (!replaced.contains(static_cast<std::int64_t>(i))) removed.add(record.pictures[i].name);
  }
  added.tell("added", result.changes);
  removed.tell("removed", result.changes);
  edited.tell("edited", result.changes);
  relabelled.tell("labelled otherwise", result.changes);
  copied.tell("copied", result.changes);
  moved.tell("in another split's folder", result.changes);
  return result;
}

double draw_of(std::uint64_t hash, std::uint64_t seed, std::string_view purpose) {
  return static_cast<double>(mix(mix(seed, stable_hash(purpose)), hash) >> 11) * 0x1p-53;
}

namespace {

// label -> (draw, hash) of its contents, each once, lowest first.
std::map<std::int64_t, std::vector<std::pair<double, std::uint64_t>>> ranked(
    std::span<const std::uint64_t> hashes, std::span<const std::int64_t> labels, std::uint64_t seed,
    std::string_view purpose) {
  std::map<std::int64_t, std::vector<std::pair<double, std::uint64_t>>> classes;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    classes[labels[i]].emplace_back(draw_of(hashes[i], seed, purpose), hashes[i]);
  }
  for (auto& [label, draws] : classes) {
    std::sort(draws.begin(), draws.end());
    draws.erase(std::unique(draws.begin(), draws.end()), draws.end());
  }
  return classes;
}

// The lowest `take(draws)` of each class.
template <class Take>
std::vector<bool> lowest(std::span<const std::uint64_t> hashes,
                         std::span<const std::int64_t> labels, std::uint64_t seed,
                         std::string_view purpose, Take&& take) {
  std::map<std::int64_t, std::pair<double, std::uint64_t>> first_left;  // that is not chosen
  for (const auto& [label, draws] : ranked(hashes, labels, seed, purpose)) {
    const std::int64_t wanted = take(draws);
    const auto count = static_cast<std::int64_t>(draws.size());
    const std::int64_t chosen = count < 2 ? 0 : std::clamp<std::int64_t>(wanted, 1, count - 1);
    first_left[label] = draws[static_cast<std::size_t>(chosen)];
  }
  std::vector<bool> result(hashes.size());
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    result[i] = std::pair(draw_of(hashes[i], seed, purpose), hashes[i]) < first_left[labels[i]];
  }
  return result;
}

}  // namespace

std::vector<bool> drawn_by_content(std::span<const std::uint64_t> hashes,
                                   std::span<const std::int64_t> labels, double fraction,
                                   std::uint64_t seed, std::string_view purpose) {
  return lowest(hashes, labels, seed, purpose, [&](const auto& draws) {
    return std::lower_bound(draws.begin(), draws.end(), std::pair(fraction, std::uint64_t{0})) -
           draws.begin();
  });
}

std::vector<bool> share_by_content(std::span<const std::uint64_t> hashes,
                                   std::span<const std::int64_t> labels, double share,
                                   std::uint64_t seed, std::string_view purpose) {
  return lowest(hashes, labels, seed, purpose, [&](const auto& draws) {
    return std::llround(share * static_cast<double>(draws.size()));
  });
}

}  // namespace tapescope
