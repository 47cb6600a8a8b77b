// Finished groups of a decoder lane, waiting for the write port.

module group_queue #(
    parameter DEPTH = 4
) (
    input  wire         clk,
    input  wire         reset,
    input  wire         push,
    input  wire [127:0] push_group,
    input  wire [4:0]   push_count,
    output wire         room,
    output wire         empty_next,
    output wire         group_valid,
    input  wire         group_ready,
    output wire [127:0] group,
    output wire [4:0]   group_count
);
    localparam POINTER_BITS = (DEPTH > 1) ? $clog2(DEPTH) : 1;

    reg [132:0] groups [0:DEPTH-1];
    reg [POINTER_BITS-1:0] head, tail;
    reg [7:0] held;
    wire pop = group_valid && group_ready;

    assign group_valid = held != 0;
    assign room = held < 8'(DEPTH) || group_ready;
    assign empty_next = held == 0 || (held == 1 && group_ready);
    assign {group_count, group} = groups[head];

    always @(posedge clk)
        if (reset) begin
            head <= 0;
            tail <= 0;
            held <= 0;
        end else begin
            if (push) begin
                groups[tail] <= {push_count, push_group};
                tail <= (tail == POINTER_BITS'(DEPTH - 1)) ? 0 : tail + 1'b1;
            end
            if (pop) head <= (head == POINTER_BITS'(DEPTH - 1)) ? 0 : head + 1'b1;
            held <= held + 8'(push) - 8'(pop);
        end
endmodule
