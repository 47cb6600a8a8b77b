// Stands for whatever takes bursts out of a FIFO, in the role of a test bench: the work of a
// transfer, in cycles, is spread evenly over its bursts.

module paced_consumer #(
    parameter MOST = 32
) (
    input  wire        clk,
    input  wire        reset,
    input  wire        job,
    input  wire [31:0] job_count,
    input  wire [31:0] job_work,
    input  wire        data_valid,
    output reg  [7:0]  consumed
);
    reg [31:0] count, work, index, waiting, left;
    reg has_burst;
    reg [31:0] new_index, new_waiting, new_left, work_after, work_before;
    reg new_has;
    integer i;

    always @(*) begin
        consumed = 0;
        new_index = index;
        new_waiting = waiting + 32'(data_valid);
        new_left = left;
        new_has = has_burst;
        work_after = 0;
        work_before = 0;
        for (i = 0; i < MOST; i = i + 1) begin
            if (new_has && new_left == 0) begin
                consumed = consumed + 1;
                new_has = 1'b0;
            end
            if (!new_has && new_waiting != 0) begin
                work_after = work * (new_index + 1) / count;
                work_before = work * new_index / count;
                new_has = 1'b1;
                new_left = work_after - work_before;
                new_waiting = new_waiting - 1;
                new_index = new_index + 1;
            end
        end
    end

    always @(posedge clk)
        if (reset) begin
            has_burst <= 1'b0;
            waiting <= 0;
            index <= 0;
            left <= 0;
            count <= 1;
            work <= 0;
        end else begin
            has_burst <= new_has;
            waiting <= new_waiting;
            left <= new_left - 32'(new_has);
            index <= job ? 0 : new_index;
            if (job) begin
                count <= job_count;
                work <= job_work;
            end
        end
endmodule
