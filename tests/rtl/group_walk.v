// The groups of 16 codes that are a lane's, one after another, without a division: in turn t lane l
// has group t * lanes + (l + t) mod lanes, so that it moves on by lanes + 1 groups, or by one where
// it comes back to the first place.  `step_rows` and `step_places` are lanes + 1 in whole rows and
// what is left of them.

module group_walk #(
    parameter ROW_BITS = 12,
    parameter PLACE_BITS = 8
) (
    input  wire                  clk,
    input  wire                  load,
    input  wire [5:0]            load_lane,
    input  wire [ROW_BITS:0]     load_row,
    input  wire [PLACE_BITS-1:0] load_place,
    input  wire                  step,
    input  wire [6:0]            lanes,
    input  wire [PLACE_BITS:0]   per_row,
    input  wire [6:0]            step_rows,
    input  wire [PLACE_BITS-1:0] step_places,
    output reg  [ROW_BITS:0]     row,     // beyond the last one: no group is left
    output reg  [PLACE_BITS-1:0] place
);
    reg [5:0] spot;
    wire returns = {1'b0, spot} + 1'b1 == lanes;
    wire one_a_row = per_row == 1;
    wire [6:0] rows = returns ? {6'b0, one_a_row} : step_rows;
    wire [PLACE_BITS-1:0] places = returns ? {{(PLACE_BITS-1){1'b0}}, !one_a_row} : step_places;
    wire [PLACE_BITS:0] sum = {1'b0, place} + {1'b0, places};
    wire beyond = sum >= per_row;

    always @(posedge clk)
        if (load) begin
            spot <= load_lane;
            row <= load_row;
            place <= load_place;
        end else if (step) begin
            spot <= returns ? 0 : spot + 1'b1;
            row <= row + (ROW_BITS+1)'(rows) + (ROW_BITS+1)'(beyond);
            place <= PLACE_BITS'(beyond ? sum - per_row : sum);
        end
endmodule
