// Tar files as shards of a data set.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tests/fuzz/fuzz.h"
#include "tests/tools/tar_file.h"
#include "tools/data/shards.h"

namespace tapescope::fuzz {
namespace {

// Headers with the checksums that they should have: mutation finds none.
std::vector<std::uint8_t> with_tar_checksums(Bytes bytes) {
  std::vector<std::uint8_t> tar(bytes.begin(), bytes.end());
  for (std::size_t at = 0; at + 512 <= tar.size();) {
    std::uint8_t* header = tar.data() + at;
    if (std::all_of(header, header + 512, [](int b) { return b == 0; })) break;
    std::size_t size = 0;
    for (int i = 124; i < 135 && header[i] >= '0' && header[i] <= '7'; ++i) {
      size = size * 8 + (header[i] - '0');
    }
    std::memset(header + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; ++i) sum += header[i];
    std::memcpy(header + 148, fmt::format("{:06o}", sum).c_str(), 7);
    if (size > tar.size()) break;
    at += 512 + (size + 511) / 512 * 512;
  }
  return tar;
}

void shard(Bytes bytes) {
  const auto path = write("0.tar", with_tar_checksums(bytes));
  const auto size = static_cast<std::int64_t>(bytes.size());
  sentence_of([&] {
    const ShardIndex index = index_of(path);
    for (const ShardSample& sample : index.samples) {
      promise(sample.offset >= 0 && sample.bytes >= 0 && sample.offset <= size - sample.bytes,
              "a sample lies in its shard");
      promise(!sample.flaw.empty() || !sample.label.empty(), "a sample has a label or a flaw");
      planted_fault(sample.flaw.empty() && sample.label == "2");
    }
  });
  sentence_of([&] { open_data(path, {.validation_fraction = 0, .on_bad_image = BadImage::skip}); });
}

Seeds shard_seeds() {
  const std::string picture = "P5 1 1 255\n", number = tar_entry("a/1.cls", "1");
  const auto sample = [&](const std::string& key, char shade, const std::string& label) {
    return tar_entry(key + ".pgm", picture + shade) + tar_entry(key + ".cls", label);
  };
  const std::string plain = sample("1", 'x', "0") + sample("2", 'y', "1");
  return {bytes_of(plain + tar_end()),
          bytes_of(gnu_entry("d/" + std::string(120, 'n') + ".pgm", picture + "z") + tar_end()),
          bytes_of(pax_entry("d/" + std::string(120, 'n') + ".pgm", picture + "z") + number),
          bytes_of(tar_entry("1.pgm", picture + "x") + tar_entry("1.json", R"({"label":"dog"})") +
                   sample("2", 'y', "cat") + tar_end())};
}

}  // namespace

const Target kShard{"shard", shard, shard_seeds};

}  // namespace tapescope::fuzz
