// Write port of the weight SRAM: takes whole groups of up to 16 codes round-robin, up to PORT_CODES
// a cycle, and one a cycle for each bank.

module write_port #(
    parameter LANES = 4,
    parameter PORT_CODES = 64,
    parameter BANK_BITS = 8
) (
    input  wire                       clk,
    input  wire                       clear,
    input  wire [LANES-1:0]           group_valid,
    input  wire [LANES*5-1:0]         counts,
    input  wire [LANES*BANK_BITS-1:0] banks,
    output reg  [LANES-1:0]           write
);
    localparam LANE_BITS = (LANES > 1) ? $clog2(LANES) : 1;

    reg [LANE_BITS-1:0] turn, next_turn;
    integer pass, lane, granted;
    reg is_full, is_turn;
    reg [(1<<BANK_BITS)-1:0] taken;

    always @(*) begin
        write = 0;
        next_turn = turn;
        granted = 0;
        is_full = 1'b0;
        taken = 0;
        for (pass = 0; pass < 2; pass = pass + 1)
            for (lane = 0; lane < LANES; lane = lane + 1) begin
                is_turn = (pass == 0) == (lane >= 32'(turn));
                if (is_turn && group_valid[lane] && !taken[banks[lane*BANK_BITS +: BANK_BITS]])
                begin
                    granted = granted + 32'(counts[lane*5 +: 5]);
                    is_full = is_full || granted > PORT_CODES;
                    if (!is_full) begin
                        write[lane] = 1'b1;
                        taken[banks[lane*BANK_BITS +: BANK_BITS]] = 1'b1;
                        next_turn = (lane == LANES - 1) ? 0 : LANE_BITS'(lane + 1);
                    end
                end
            end
    end

    always @(posedge clk) turn <= clear ? 0 : next_turn;
endmodule
