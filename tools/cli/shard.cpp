#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/cli/cli.h"
#include "tools/data/shard_writer.h"
#include "tools/files/json_text.h"
#include "tools/monitoring/progress_line.h"

namespace tapescope::cli {
namespace {

struct ShardArguments {
  std::string data, out;
  std::int64_t megabytes = 256;
  bool json = false;
};

int run(const ShardArguments& options) {
  std::unique_ptr<monitoring::ProgressBar> bar;
  const ShardedData data =
      write_shards({options.data, options.out, options.megabytes << 20},
                   [&](std::int64_t done, std::int64_t all) {
                     if (!bar) bar = std::make_unique<monitoring::ProgressBar>("sharding", all);
                     bar->done(done);
                   });
  bar.reset();
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  if (options.json) {
    nlohmann::ordered_json json = {{"out", options.out}, {"classes", data.classes}};
    for (const ShardedPart& part : data.parts) {
      json["splits"].push_back({{"folder", part.folder},
                                {"pictures", part.pictures},
                                {"shards", part.shards},
                                {"bytes", part.bytes}});
    }
    fmt::print("{}\n", json_text(json, 2));
    return 0;
  }
  fmt::print("{:<8}{:>12}{:>9}{:>12}\n", "split", "pictures", "shards", "MB");
  for (const ShardedPart& part : data.parts) {
    fmt::print("{:<8}{:>12}{:>9}{:>12.1f}\n", part.folder.empty() ? "all" : part.folder,
               part.pictures, part.shards, static_cast<double>(part.bytes) / 1e6);
  }
  fmt::print("{} classes; next: tapescope train --data {} --out RUN\n", data.classes.size(),
             options.out);
  return 0;
}

std::function<int()> setup_shard(CommandLine& line) {
  auto options = std::make_shared<ShardArguments>();
  line.option("--data", options->data,
              "folder of pictures in ImageFolder layout: a folder per class, in train, val and "
              "test where it has them")
      .required();
  line.option(
          "--out", options->out,
          "folder to write: tar files in WebDataset's layout and classnames.txt; must be new or "
          "empty")
      .required();
  line.option("--shard-size", options->megabytes, "largest size of a tar file, in MiB")
      .show_default()
      .range(1, 1 << 20);
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kShard = {"shard", "pack a folder of pictures into tar files, in its order",
                           "tapescope shard --data flowers --out flowers-shards", setup_shard};

}  // namespace tapescope::cli
