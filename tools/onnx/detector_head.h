// The head of a detector's graph: the numbers before their Sigmoids, and where its maps lie.
#pragma once

#include <set>

#include "tools/onnx/graph.h"

namespace tapescope::onnx {

struct DetectorHead {
  // A value like the graph's first output, of which no Sigmoid gives a part any more: the boxes as
  // they were, the logits of objects and classes.
  std::string answers;
  int sigmoids = 0;  // that were passed by
  // The last part of the answers where they are joined at the end, bare too: perhaps all but the
  // boxes, so that what is explained does not depend on those; else "".
  std::string scores;
  // What gives the logits, in the order of the answers: outputs of the layers before the Sigmoids.
  std::vector<std::string> layers;
  // {N, 4, cells}: how many strides the left, top, right and lower side lie from a cell's middle,
  // where the boxes are worked out from that (YOLOv8's and later heads); else "".
  std::string distances;
  bool corners = false;           // boxes are x0, y0, x1, y1 rather than centre and size
  bool exponential = false;       // widths are given by an Exp: the graph places boxes in the input
  std::vector<std::string> cuts;  // sentences: what of the graph is no part of the net any more
};

// How boxes are chosen within the graph: not at all; the surest ones; with NonMaxSuppression.
enum class Choice : unsigned char { none, surest, suppression };
Choice choice_of(const Graph& graph);

// Finds the head; where the graph chooses boxes it is cut before that, at the answers of all cells.
// The graph's outputs become the head's answers. Throws a usage error where the graph chooses boxes
// and no such place is found.
DetectorHead bare_head(Graph& graph);

// The value that the last layers of all branches read, on the way from the input to what `layer`
// gives, the output of a convolution of `scores` channels, or of more where it gives boxes too; ""
// where there is none.
std::string shared_value(const Graph& graph, const std::string& layer, std::int64_t scores);

// Which initialisers are read by layers behind the shared values (head), from the first that makes
// maps larger on (neck), and before (backbone).
struct Parts {
  std::set<std::string> head, neck, backbone;
};
Parts parts_of(const Graph& graph, const std::vector<std::string>& shared);

}  // namespace tapescope::onnx
